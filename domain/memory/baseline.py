"""What a new brain starts from: 33 entries, three for each intent, on what a good answer of that kind speaks about.

They are guidance, not knowledge: recalled, they count for less, and the architect uses them as its list of points.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Baseline:
    intent: str
    point: str
    """The address key's last level, and the heading of a section."""
    question: str
    """What stays open when a request says nothing of it."""
    cue: str
    """Words (a regular expression, case ignored) by which a sentence speaks of it."""
    text: str

    @property
    def address_key(self) -> str:
        return f"{self.intent}.global.general.{self.point.lower().replace(' ', '_')}"


def _three(intent: str, *points: tuple[str, str, str, str]) -> tuple[Baseline, ...]:
    return tuple(Baseline(intent, *point) for point in points)


BASELINE: tuple[Baseline, ...] = (
    *_three(
        "specification",
        (
            "Required behaviour",
            "What must it do, for whom, and in which case?",
            r"\b(?:shall|must|should|needs? to|has to|able to|so that|as an? \w+,? I)\b",
            "A specification states the required behaviour as something a stranger could test: who does what, and what "
            "the system answers.",
        ),
        (
            "Limits",
            "Which limits on size, time, cost or access hold?",
            r"\b(?:at most|at least|within|less than|more than|up to|maximum|minimum|limit|only|per (?:second|"
            r"minute|hour|day|month)|out of scope)\b|\d\s?(?:%|ms|s|seconds|minutes|hours|days|GB|MB|EUR|USD|"
            r"GBP)\b",
            "A specification names its limits: sizes, response times, costs, permissions, and what is out of scope.",
        ),
        (
            "Acceptance",
            "How will it be decided that it is done?",
            r"\b(?:accept\w*|done when|test(?:s|ed)?|example|criteria|demo)\b",
            "A specification ends with acceptance criteria: the examples that must work before it counts as done.",
        ),
    ),
    *_three(
        "change_request",
        (
            "Present and wanted state",
            "What is it now, and what shall it become?",
            r"\b(?:from .+ to|instead of|replace|currently|today|now|at present|rename|switch|become)\b",
            "A change request says what is there now, what shall be there instead, and why the present state is not "
            "enough.",
        ),
        (
            "Affected parts",
            "Who and what depends on the thing that changes?",
            r"\b(?:affects?|depends?|uses?|users?|customers?|teams?|systems?|contracts?|everyone)\b",
            "Before something is changed, the people, systems and contracts that depend on it are listed and told.",
        ),
        (
            "Way back",
            "How is the change undone if it goes wrong?",
            r"\b(?:roll ?back|revert|undo|backup|fallback|switch back|restore)\b",
            "A change is ready when there is a tested way back: a rollback, a backup or a switch, and somebody who may "
            "use it.",
        ),
    ),
    *_three(
        "diagnosis",
        (
            "Symptom",
            "What exactly is observed, and what was expected?",
            r"\b(?:errors?|fail\w*|crash\w*|broken|slow|down|stops?|stopped|missing|cannot|can't|wrong|"
            r"returns?|shows?|timeouts?|\d{3})\b",
            "A diagnosis starts from the symptom as observed: the exact error, who sees it, how often, and what was "
            "expected instead.",
        ),
        (
            "Onset",
            "Since when, and what changed just before?",
            r"\b(?:since|after|began|started|yesterday|last (?:night|week|month)|this morning|deploy\w*|"
            r"updat\w*|upgrad\w*|release[ds]?|chang\w*|replaced)\b",
            "Most faults begin with a change. A diagnosis asks when the fault was first seen and what was deployed, "
            "configured or replaced shortly before.",
        ),
        (
            "Deciding test",
            "Which single test would tell the likely causes apart?",
            r"\b(?:only|when|works? (?:on|in|with|for)|reproduc\w*|unless|except|tried|tested|restart\w*|"
            r"logs?)\b",
            "Two likely causes are told apart by the smallest test whose result differs between them; it is run before "
            "anything is repaired.",
        ),
    ),
    *_three(
        "verification",
        (
            "Claim",
            "Which claim exactly is to be verified?",
            r"\b(?:claims?|states?|says?|said|reported|according|is|are|was|were|did|has|have)\b",
            "A verification quotes the claim that is to be checked, word for word, before it looks for evidence.",
        ),
        (
            "Evidence",
            "Which evidence supports it, and where does that come from?",
            r"\b(?:report|log|record|ledger|source|measured|shows?|screenshot|document|evidence|proof|"
            r"test(?:s|ed)?)\b",
            "A claim is verified by evidence that is independent of whoever made it; the source and the date of each "
            "piece are named.",
        ),
        (
            "Counter evidence",
            "What would show that it is wrong, and was that looked for?",
            r"\b(?:but|however|although|contradict\w*|except|differs?|mismatch|not|fail\w*)\b",
            "A verification also looks for what would refute the claim, and says when nothing was found because nobody "
            "looked.",
        ),
    ),
    *_three(
        "risk_assessment",
        (
            "Hazard",
            "What can go wrong, and what would be harmed?",
            r"\b(?:could|might|risk|threat|breach|loss|lose|fail\w*|leak\w*|attack\w*|injur\w*|outage|"
            r"damage)\b",
            "A risk is stated as an event and its harm: what can happen, to what or whom, and by which path.",
        ),
        (
            "Likelihood and impact",
            "How likely is it, and how bad would it be?",
            r"\b(?:likely|unlikely|probab\w*|often|rarely|times? a|severe|impact|cost|costs|%|per cent|"
            r"million)\b|\d",
            "Likelihood and impact are judged apart from each other and from evidence, such as past incidents or "
            "measurements, before they are combined.",
        ),
        (
            "Mitigation",
            "What lowers the risk, and who accepts what remains?",
            r"\b(?:mitigat\w*|reduce|prevent|insur\w*|backup|control|monitor\w*|accept|patch\w*|train\w*)\b",
            "Each risk that matters has a measure that lowers it, an owner, and a person who accepts the risk that is "
            "left.",
        ),
    ),
    *_three(
        "retrospective",
        (
            "Course of events",
            "What happened, in which order?",
            r"\b(?:first|then|after|before|at \d|on (?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|in (?:January|"
            r"February|March|April|May|June|July|August|September|October|November|December)|yesterday|"
            r"minutes|hours)\b",
            "A retrospective first agrees on the course of events, with times, before anybody explains them.",
        ),
        (
            "Causes",
            "Why did it happen, and why was it not noticed earlier?",
            r"\b(?:because|cause[ds]?|due to|reason|why|led to|root)\b",
            "A retrospective looks for causes in conditions and processes rather than in persons, and asks why nothing "
            "caught the problem earlier.",
        ),
        (
            "Lessons",
            "What will be done differently, by whom and until when?",
            r"\b(?:learn\w*|lesson|next time|will|should|action|improve|in future|went well)\b",
            "A lesson counts when it became an action with an owner and a date; what went well is kept on purpose.",
        ),
    ),
    *_three(
        "planning",
        (
            "Goal",
            "What shall be reached, and by when?",
            r"\b(?:by (?:the )?(?:end|January|February|March|April|May|June|July|August|September|October|"
            r"November|December|Q\d|\d)|goal|target|reach|launch|until|deadline|quarter)\b",
            "A plan starts from a goal that can be missed: a result and a date, not an activity.",
        ),
        (
            "Steps and order",
            "Which steps are there, and which of them wait for others?",
            r"\b(?:first|then|next|after|before|step|phase|depends|finally|milestone)\b",
            "The steps of a plan are ordered by what they wait for; the longest chain of waiting decides the date.",
        ),
        (
            "Owners and means",
            "Who does it, and with what time, money and people?",
            r"\b(?:owner|responsible|team|budget|people|hours|days|EUR|USD|GBP|engineers?|leads?)\b",
            "Each step of a plan has one owner and the means to do it; a plan without spare time is already late.",
        ),
    ),
    *_three(
        "knowledge_retrieval",
        (
            "Question",
            "What exactly is to be known, and what for?",
            r"\?",
            "A good search starts from the decision that waits for the answer: it tells how exact and how recent the "
            "answer has to be.",
        ),
        (
            "Source",
            "Which source answers it, and how old is it?",
            r"\b(?:according|source|document|report|contract|said|record)\b|\[m\d",
            "An answer from memory names its source and age, and says so when sources disagree.",
        ),
        (
            "Gaps",
            "What could not be found?",
            r"\b(?:unknown|missing|not found|no information|unclear)\b",
            "What was looked for and not found is part of the answer; silence is not evidence that something does not "
            "exist.",
        ),
    ),
    *_three(
        "compliance_check",
        (
            "Rule",
            "Which rule, law or policy applies, in which version?",
            r"\b(?:GDPR|HIPAA|SOX|ISO ?\d+|law|act|regulation|directive|standard|policy|article|section|"
            r"clause|rule)\b",
            "A compliance check names the rule it checks against: the law, standard or policy, its paragraph and its "
            "version.",
        ),
        (
            "Finding",
            "Is the rule met, and what shows it?",
            r"\b(?:meets?|met|passed|failed|compl(?:ies|y|iant)|violat\w*|not (?:been|met)|certif\w*|audited|"
            r"evidence)\b",
            "A compliance finding is met, not met or not applicable, with the evidence that an auditor would accept.",
        ),
        (
            "Deadline and remedy",
            "What has to be done until when, and who answers for it?",
            r"\b(?:by|before|until|deadline|due|must|remedy|fix|within)\b",
            "A rule that is not met needs a remedy, a deadline and a person who answers for it, or a documented "
            "exception.",
        ),
    ),
    *_three(
        "knowledge_ingestion",
        (
            "Statement",
            "What is to be remembered, in one sentence?",
            r"\b(?:is|are|was|were|has|have|will|moved|opens?|closes?|leads?|expires?|prefers?|costs?|starts?|"
            r"ends?)\b",
            "Knowledge is kept as single statements that can be understood without the conversation they came from.",
        ),
        (
            "Origin",
            "Who says so, and since when does it hold?",
            r"\b(?:since|from|as of|according|told|says?|said|announced|signed|valid|last (?:week|month|year)|"
            r"yesterday|today|because|in (?:January|February|March|April|May|June|July|August|September|"
            r"October|November|December))\b|\b\d{4}\b",
            "A statement is kept with its origin and the time from which it holds, so that it can be doubted later.",
        ),
        (
            "Conflict",
            "Does it contradict what is already known?",
            r"\b(?:no longer|instead|contradict\w*|however|but|replaces?|changed|corrects?|new)\b",
            "New knowledge that contradicts old knowledge does not replace it silently: both are marked until somebody "
            "decides.",
        ),
    ),
    *_three(
        "intent_clarification",
        (
            "Readings",
            "Which readings does the request allow?",
            r"\b(?:either|or|could mean|maybe)\b",
            "An unclear request is answered with the readings it allows and what each of them would lead to.",
        ),
        (
            "Missing information",
            "Which single piece of information would decide between them?",
            r"\b(?:which|what|who|when|where|need)\b",
            "Ask for the one piece of information that decides most, and ask only for what changes the answer.",
        ),
        (
            "Assumption",
            "Which assumption can be made in the meantime?",
            r"\b(?:assum\w*|suppose|presum\w*|as usual)\b",
            "Work can go on under an assumption when it is stated, cheap to revise and safe if wrong.",
        ),
    ),
)

assert len(BASELINE) == 33
