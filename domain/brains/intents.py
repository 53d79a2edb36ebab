"""What the triage knows of language: examples and cues of each intent, the scopes, the domains. Data only."""

from __future__ import annotations

import re
from re import Pattern

EXAMPLES: dict[str, tuple[str, ...]] = {
    "specification": (
        "The export must produce a CSV file with one row per invoice and finish within ten seconds.",
        "Write a specification for the new login page.",
        "Users should be able to reset their password by e-mail.",
        "What are the requirements and acceptance criteria for the search feature?",
        "Define how the API should behave when the token is missing.",
        "The system shall store every order for seven years.",
    ),
    "change_request": (
        "Please change the payment terms from 30 to 14 days.",
        "We want to replace the old mail server with a hosted one.",
        "Rename the field customer to account in the report.",
        "Can we switch the deployment from Friday to Monday?",
        "Update the onboarding document and remove the second step.",
        "Add a second approver to the purchasing process.",
    ),
    "diagnosis": (
        "The server has been returning errors since last night. What is wrong?",
        "Why is the page so slow after the update?",
        "Users cannot log in; they get an error message.",
        "The nightly job fails with a timeout.",
        "The pump stops after ten minutes and shows code E4.",
        "Something broke when we deployed; find the cause.",
    ),
    "verification": (
        "Is it true that the backup ran successfully every night?",
        "Check whether this calculation is correct.",
        "Verify that the numbers in the report match the ledger.",
        "Can you confirm that all tests passed on the release branch?",
        "Did the migration really move all records?",
        "Validate this claim against the evidence.",
    ),
    "risk_assessment": (
        "What are the risks of moving our data to another region?",
        "How dangerous is it to postpone the security patch?",
        "What could go wrong if we depend on a single supplier?",
        "Assess the likelihood and the impact of a data breach.",
        "Which threats does the launch face?",
        "Rate the risk of this investment.",
    ),
    "retrospective": (
        "What did we learn from the outage in June?",
        "Looking back at the project, what went well and what did not?",
        "Write a post-mortem of yesterday's incident.",
        "What should we do differently after this release?",
        "Lessons learned from the failed migration.",
        "Review how the last sprint went.",
    ),
    "planning": (
        "Plan the rollout of the new system for the next quarter.",
        "What are the next steps, who does them, and by when?",
        "Make a schedule for the hiring of three engineers.",
        "How should we organise the move to the new office?",
        "Draft a roadmap with milestones until December.",
        "Prepare an agenda and a timeline for the launch.",
    ),
    "knowledge_retrieval": (
        "Who is responsible for the payroll system?",
        "When does the contract with our supplier end?",
        "What is the phone number of the help desk?",
        "Where do we keep the signed agreements?",
        "Which customers use the enterprise plan?",
        "Tell me what we know about this company.",
        "How many vacation days do employees have?",
    ),
    "compliance_check": (
        "Does our data retention comply with the GDPR?",
        "Which of our suppliers must be audited this year?",
        "Are we allowed to store health data in this region?",
        "Check this policy against ISO 27001.",
        "Do we meet the legal requirements for record keeping?",
        "Is this contract clause permitted by the regulation?",
    ),
    "knowledge_ingestion": (
        "The office in Lyon closes at six on Fridays.",
        "Remember that Maria leads the data team since May.",
        "Acme moved its hosting to another region last week.",
        "For your information: the new price list is valid from January.",
        "Our support hours are from eight to five on working days.",
        "The customer prefers to be contacted by phone.",
        "Note that the certificate expires on 28 February.",
    ),
    "intent_clarification": (
        "Can you help me with that thing?",
        "I need something done about it.",
        "Hello.",
        "Do the usual, please.",
        "It is about the other one.",
        "What about this?",
        "I am not sure what I need.",
    ),
}

# A cue adds CUE to the similarity; what a text says outright outweighs what it resembles.
CUE = 0.16
CUES: dict[str, Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "specification": r"\b(?:specif(?:y|ication)|requirements?|acceptance criteria|shall|user stor(?:y|ies)|"
        r"by default|"
        r"(?:must|should) (?:not )?(?:be able|load|show|store|support|return|display|allow|"
        r"accept|produce|finish|reject))\b",
        "change_request": r"\b(?:change (?:request|the|our|my)|replace|rename|switch (?:from|to|the)|migrate|upgrade|"
        r"remove the|add an?|please (?:change|update|add|remove))\b",
        "diagnosis": r"\b(?:root cause|diagnos\w+|error|fails?|failing|crash\w*|broken|not working|cannot|"
        r"can't|slow|outage|"
        r"stack ?trace|exception|why (?:is|does|did|are|do)|since (?:this|yesterday|last|the)|does not|doesn't|blank|"
        r"alarm|leak(?:s|ing)?|jam(?:s|med)?|hangs?|frozen|stops)\b",
        "verification": r"\b(?:verify|verification|confirm|validate|double[- ]check|is it (?:true|correct|"
        r"right)|correct\?|really)\b",
        "risk_assessment": r"\b(?:risks?|risky|threats?|hazards?|likelihood|what (?:could|can) go wrong|dangers?|"
        r"dangerous)\b",
        "retrospective": r"\b(?:retrospective|post[- ]?mortem|lessons? learn\w*|looking back|what went (?:well|wrong)|"
        r"did we learn)\b",
        "planning": r"\b(?:plan|roadmap|schedule|timeline|milestones?|(?:next|which) steps|agenda|roll ?out)\b",
        "knowledge_retrieval": r"(?:^|[.!?]\s+)(?:who|when|where|which|what is|what are|what do we know|how many|"
        r"how much|"
        r"tell me|find|look up|show me)\b",
        "compliance_check": r"\b(?:compl(?:y|iance|iant)|gdpr|hipaa|iso ?\d{4,5}|sox|audit(?:ed|s)?|regulat\w+|"
        r"allowed to|"
        r"permitted|legally|policy)\b",
        "knowledge_ingestion": r"\b(?:remember that|note that|for your information|fyi|please (?:note|remember|record)|"
        r"keep in mind)\b",
        "intent_clarification": r"^\W*(?:hi|hello|hey|help|test|thanks?|ok(?:ay)?)\W*$|\b(?:that|this|"
        r"the other) (?:one|thing)\b|"
        r"\bthe usual\b",
    }.items()
}

UNCLEAR = 0.20
"""Nothing resembles it this much: the intent has to be clarified."""
TOLD = 0.08
"""Added to `knowledge_ingestion` when every sentence tells and none asks."""

SCOPE_CUES: tuple[tuple[str, Pattern[str]], ...] = (
    (
        "project",
        re.compile(
            r"\b(?:projects?|sprint|release|milestone|repositor(?:y|ies)|branch|feature|deploy\w*|migration|backlog)\b",
            re.I,
        ),
    ),
    (
        "org",
        re.compile(
            r"\b(?:our|we|us|company|organi[sz]ation|department|teams?|employees?|staff|polic(?:y|"
            r"ies)|board|everyone)\b",
            re.I,
        ),
    ),
)

DOMAINS: dict[str, tuple[str, ...]] = {
    "suppliers": ("supplier", "vendor", "procurement", "purchasing", "subcontractor", "sourcing"),
    "security": ("security", "password", "login", "attack", "vulnerability", "certificate", "encryption", "phishing"),
    "privacy": ("privacy", "personal data", "consent", "gdpr", "data protection"),
    "finance": ("finance", "invoice", "payment", "budget", "accounting", "tax", "payroll", "price", "bank"),
    "legal": ("law", "contract", "clause", "licence", "liability", "lawsuit", "agreement"),
    "people": ("employee", "hiring", "salary", "vacation", "human resources", "applicant", "onboarding"),
    "sales": ("sales", "offer", "deal", "lead", "discount", "quotation"),
    "marketing": ("marketing", "campaign", "brand", "advertising", "newsletter"),
    "customers": ("customer", "complaint", "support ticket", "customer service", "refund", "subscriber"),
    "operations": ("operations", "process", "production", "shift", "workflow"),
    "infrastructure": (
        "server",
        "hosting",
        "network",
        "database",
        "cloud",
        "outage",
        "backup",
        "deployment",
        "timeout",
    ),
    "software": ("software", "source code", "bug", "feature", "release", "api", "checkout page", "login page", "app"),
    "data": ("dataset", "report", "analytics", "statistics", "data quality", "spreadsheet", "export"),
    "product": ("product design", "user requirement", "usability", "prototype", "roadmap"),
    "quality": ("quality management", "defect", "inspection", "iso standard", "tolerance"),
    "logistics": ("logistics", "transport", "warehouse", "delivery", "stock", "shipment", "truck"),
    "facilities": ("building", "office", "meeting room", "machine", "maintenance", "pump", "elevator"),
    "health": ("health", "medicine", "patient", "hospital", "work safety", "nurse"),
    "education": ("school", "course", "training", "student", "teacher", "exam"),
    "energy": ("energy", "electricity", "heating", "climate", "emissions", "solar power"),
    "research": ("research", "science", "experiment", "study", "laboratory"),
    "governance": ("strategy", "management board", "company policy", "audit committee", "compliance officer"),
    "communication": ("meeting", "e-mail", "announcement", "press release", "telephone"),
    "food": ("food", "restaurant", "recipe", "agriculture", "kitchen"),
    "travel": ("travel", "hotel", "flight", "conference event", "booking"),
}
KNOWN_DOMAIN = 0.24
"""Similarity below which a text belongs to no domain: `general`."""
NAMED = 0.14
"""Added for each of a domain's words that stands in the text, three at most."""

# What is only asked for, never simply told: an input without a question or an order is less likely to be one of these.
ASKED = frozenset(
    {"verification", "risk_assessment", "planning", "knowledge_retrieval", "compliance_check", "intent_clarification"}
)
NOT_ASKED = 0.20


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that never say what a text is about. Three letters and fewer are left out anyway.
CALENDAR = _words("""
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december
""")
COMMON = (
    _words("""
    about above after again against also although always among another anybody anything around because been before
    being below best better between both cannot could day days does doing done down during each either else even
    ever every everyone everything first from further give given gives going good have having help here hers
    herself himself into itself just keep kept know known last later least less like long made make makes many
    might mine month months more most much must myself need needs never next nobody none note nothing often once
    only other ours ourselves over part parts people person please really remember same says second shall short
    should show since some somebody someone something soon still such take takes tell than that their theirs them
    then there these they thing things third this those through time times today together tomorrow under until
    upon used uses using very want wants week weeks well were what whatever when where whether which while whole
    will with within without word work would write year years yesterday your yours
""")
    | CALENDAR
)
