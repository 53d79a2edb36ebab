// The forms of the account pages call the surface's published operations, and show what it answers. No rule is here.
(function () {
  "use strict";
  const site = JSON.parse(document.getElementById("site").textContent);
  const FLAG = "thalweg-signed-in"; // says only that a cookie may hold a session; never a token
  const state = { access: null, refresh: null, until: null, email: null };

  // What stands behind `#` leaves the address bar, the history and every reload at once.
  const token = readToken();
  function readToken() {
    const text = window.location.hash.slice(1);
    if (document.getElementById(text)) return ""; // a place in the page
    if (text) window.history.replaceState(null, "", window.location.pathname + window.location.search);
    try { return decodeURIComponent(text); } catch (broken) { return text; }
  }

  // The link of another mail, opened in this very page, changes nothing but what stands behind `#`.
  window.addEventListener("hashchange", () => {
    const text = window.location.hash.slice(1);
    if (text && !document.getElementById(text)) window.location.reload();
  });

  const one = (selector, within) => (within || document).querySelector(selector);
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
  const member = (value, path) => path.split(".").reduce((held, name) => (held == null ? undefined : held[name]), value);
  function made(name, text, options) {
    const element = Object.assign(document.createElement(name), options);
    if (text != null) element.textContent = text;
    return element;
  }
  function moment(text) {
    const at = new Date(text);
    return text && !isNaN(at) ? at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "";
  }
  function kept(text) {
    try {
      if (text === undefined) return window.sessionStorage.getItem(FLAG);
      if (text === null) window.sessionStorage.removeItem(FLAG);
      else window.sessionStorage.setItem(FLAG, text);
    } catch (refused) { /* then the session does not outlive the page */ }
    return null;
  }

  // --- calls ---------------------------------------------------------------------------------------------------

  async function call(where, body, bearer) {
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (bearer) headers.Authorization = "Bearer " + bearer;
    let answer;
    try {
      answer = await fetch(where.url, { method: where.method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    } catch (away) {
      return { ok: false, status: 0, data: { message: "The server cannot be reached. Try again." } };
    }
    const text = await answer.text();
    let data = null;
    try { data = text ? JSON.parse(text) : null; } catch (other) { data = { message: text.slice(0, 300) }; }
    return { ok: answer.ok, status: answer.status, data, wait: Number(answer.headers.get("Retry-After")) || 0 };
  }

  // The surface's own words: a message, and what is wrong with which field.
  function told(answer) {
    const data = answer.data || {};
    const listed = Array.isArray(data.details) ? data.details : [];
    const issues = listed.map((issue) => ({
      field: String((Array.isArray(issue.loc) ? issue.loc : String(issue.path || "").split(".")).slice(-1)[0] || ""),
      text: issue.msg || issue.message || "",
    }));
    let text = data.message || (typeof data.detail === "string" ? data.detail : "") || data.error || "That did not work (" + answer.status + ").";
    if (answer.wait > 0) text += " Try again at " + new Date(Date.now() + answer.wait * 1000).toLocaleTimeString([], { timeStyle: "short" }) + ".";
    return { text: String(text), issues };
  }

  function tell(box, text, lines) {
    box.replaceChildren(made("span", text));
    if (lines && lines.length) {
      const list = made("ul");
      lines.forEach((line) => list.append(made("li", line)));
      box.append(list);
    }
    box.hidden = false;
    return box;
  }

  function say(text) {
    const box = one("#said");
    one("p", box).textContent = text;
    box.hidden = false;
    box.focus();
  }

  // --- forms -----------------------------------------------------------------------------------------------------

  const open = (element) => !element.closest("[hidden]") && !element.disabled;

  function filled(form) {
    const body = {};
    all("[name]", form).forEach((input) => {
      if (input.type === "checkbox") {
        if (open(input) && (input.checked || input.required)) body[input.name] = input.checked;
      } else if (input.type === "hidden" ? input.value : input.value !== "" && open(input)) {
        body[input.name] = input.value;
      }
    });
    return body;
  }

  function clear(form) {
    one(".refusal", form).hidden = true;
    all("[aria-invalid]", form).forEach((input) => input.removeAttribute("aria-invalid"));
    all(".wrong", form).forEach((line) => { line.hidden = true; line.textContent = ""; });
  }

  function mark(form, name, text) {
    const input = all("[name]:not([type=hidden])", form).find((one) => one.name === name || (name && one.name.endsWith("_" + name)));
    if (!input) return null;
    const line = document.getElementById(input.id + "-wrong");
    input.setAttribute("aria-invalid", "true");
    if (input.closest("details")) input.closest("details").open = true;
    line.textContent = line.textContent ? line.textContent + " " + text : text;
    line.hidden = false;
    return input;
  }

  function refuse(form, answer) {
    const said = told(answer);
    const rest = [];
    let first = null;
    said.issues.forEach((issue) => {
      const input = mark(form, issue.field, issue.text);
      if (input) first = first || input;
      else rest.push(issue.text);
    });
    const box = tell(one(".refusal", form), said.text, rest);
    (first || box).focus();
  }

  // What the browser can tell by itself: something is missing, or is no address.
  function complete(form) {
    const wrong = all("input, textarea", form).filter((input) => open(input) && input.type !== "hidden" && !input.checkValidity());
    wrong.forEach((input) => mark(form, input.name, input.validationMessage));
    if (wrong.length) wrong[0].focus();
    return wrong.length === 0;
  }

  async function submit(form) {
    clear(form);
    if (!complete(form)) return;
    const button = one("button[type=submit]", form);
    const doing = one(".doing", form);
    button.disabled = true;
    try {
      const captcha = one("[data-captcha]", form);
      if (captcha) {
        doing.textContent = "Showing that you are no machine …";
        captcha.value = await window.thalwegCaptcha.solution();
      }
      doing.textContent = "One moment …";
      const body = filled(form);
      const answer = await call({ method: form.dataset.method, url: form.dataset.url }, body);
      if (captcha && (answer.ok || (answer.data && /captcha/.test(answer.data.error || "")))) window.thalwegCaptcha.spent();
      if (!answer.ok) return refuse(form, answer);
      state.email = body.email || null;
      await done(form, answer.data);
    } catch (failed) {
      tell(one(".refusal", form), failed.message).focus();
    } finally {
      doing.textContent = "";
      button.disabled = false;
    }
  }

  async function done(form, data) {
    const within = site.tokens.within;
    const tokens = form.dataset.then === "signed-in" ? (within && data && within in data ? data[within] : data) : null;
    form.reset();
    if (tokens && member(tokens, site.tokens.access)) {
      take(tokens);
      return show();
    }
    one("#way-in").hidden = true;
    return say((data && data.message) || form.dataset.done || "Done.");
  }

  function prepare(form) {
    all("[data-token]", form).forEach((input) => { input.value = token; });
    one("button[type=submit]", form).disabled = false;
    form.addEventListener("submit", (event) => { event.preventDefault(); submit(form); });
    if (one("[data-captcha]", form)) {
      form.addEventListener("input", () => window.thalwegCaptcha.solution().catch(() => {}), { once: true });
    }
    all(".show", form).forEach((button) => {
      const input = document.getElementById(button.getAttribute("aria-controls"));
      button.hidden = false;
      button.addEventListener("click", () => {
        const hide = input.type === "text";
        input.type = hide ? "password" : "text";
        button.setAttribute("aria-pressed", String(!hide));
      });
    });
  }

  // --- who may sign up -------------------------------------------------------------------------------------------

  async function ask() {
    const waiting = all("[data-when]");
    waiting.forEach((element) => { element.hidden = true; });
    if (!site.calls.policy || !(waiting.length || one("#providers"))) return;
    const answer = await call(site.calls.policy);
    if (!answer.ok) {
      tell(one("#cannot"), told(answer).text);
      return;
    }
    waiting.forEach((element) => {
      const [name, values] = element.dataset.when.split("=");
      element.hidden = !values.split("|").includes(String(member(answer.data, name)));
    });
    const providers = one("#providers");
    (providers && site.providers ? member(answer.data, site.providers) || [] : []).forEach((provider) => {
      const back = new URL(provider.loginUrl, window.location.href);
      if (back.origin !== window.location.origin) return;
      back.searchParams.set("redirect", window.location.pathname + "?surface=" + site.key);
      const link = made("a", provider.name, { className: "button quiet", href: back.href });
      link.addEventListener("click", () => kept(site.key));
      providers.append(link);
      providers.hidden = false;
    });
  }

  // --- signed in ---------------------------------------------------------------------------------------------------

  function take(tokens) {
    const names = site.tokens;
    const expires = member(tokens, names.expires);
    state.access = member(tokens, names.access);
    state.refresh = names.refresh ? member(tokens, names.refresh) : null;
    state.until = typeof expires === "number" ? new Date(Date.now() + expires * 1000) : new Date(expires);
    if (site.returns) kept(site.key);
  }

  function shown(value) {
    if (value === true) return "yes";
    if (value === false) return "no";
    if (Array.isArray(value)) return value.join(", ");
    return value == null || value === "" ? null : String(value);
  }

  async function show() {
    if (site.onward) return window.location.replace(site.onward);
    const panel = one("#signed-in");
    const answer = await call(site.calls.me, undefined, state.access);
    if (!answer.ok) {
      forget();
      return tell(one("#cannot"), told(answer).text).focus();
    }
    all("#way-in, .ways, #said").forEach((element) => { element.hidden = true; });
    one("#me").replaceChildren();
    site.shown.forEach(([label, path]) => {
      const value = shown(path === "@email" ? state.email : member(answer.data, path));
      if (value === null) return;
      const pair = made("div");
      pair.append(made("dt", label), made("dd", value));
      one("#me").append(pair);
    });
    one("#unverified").hidden = !(site.calls.send_verification && member(answer.data, site.verified) === false);
    one("#try").hidden = !state.access;
    one("#kept").hidden = Boolean(state.access);
    if (state.access) {
      one("#curl").textContent = "curl -s '" + new URL(site.calls.me.url, window.location.href) + "' \\\n  -H 'Authorization: Bearer " + state.access + "'";
      one("#until").textContent = moment(state.until);
      one("#until").dateTime = state.until.toISOString();
    }
    title("Signed in");
    panel.hidden = false;
    panel.focus();
    if (site.calls.sessions) await sessions();
    return undefined;
  }

  async function sessions() {
    const answer = await call(site.calls.sessions, undefined, state.access);
    const rows = one("#sessions tbody");
    if (!answer.ok) return complain(answer);
    rows.replaceChildren();
    answer.data.sessions.forEach((session) => {
      const client = session.client || {};
      const place = session.location || {};
      const what = [client.browser, client.platform].filter(Boolean).join(", ") || client.user_agent || "Not known";
      const where = [place.city, place.country, session.ip_address_masked].filter(Boolean).join(", ");
      const row = made("tr");
      const head = made("th", what + (session.current ? " (this one)" : ""), { scope: "row" });
      if (where) head.append(made("span", where, { className: "line soft" }));
      const opened = made("td", moment(session.created_at));
      const used = made("td", moment(session.last_seen_at || session.created_at));
      opened.dataset.label = "Opened";
      used.dataset.label = "Last used";
      const end = made("button", "End", { type: "button", className: "button quiet" });
      end.setAttribute("aria-label", "End the session: " + what + ", opened " + moment(session.created_at));
      end.addEventListener("click", async () => {
        const where = { method: site.calls.revoke.method, url: site.calls.revoke.url.replace(/\{[^}]*\}/, encodeURIComponent(session.id)) };
        const ended = await call(where, undefined, state.access);
        if (!ended.ok) return complain(ended);
        if (session.current) return left(ended.data && ended.data.message);
        note((ended.data && ended.data.message) || "The session is over.");
        await sessions();
        return one("#signed-in").focus();
      });
      const cell = made("td");
      cell.append(end);
      row.append(head, opened, used, cell);
      rows.append(row);
    });
    return undefined;
  }

  const note = (text) => { one("#signed-in > .doing").textContent = text; };

  function complain(answer) {
    if (answer.status === 401) return left(told(answer).text);
    return tell(one("#signed-in > .refusal"), told(answer).text).focus();
  }

  const heading = one("h1").textContent;
  const title = (text) => { one("h1").textContent = text; };

  function forget() {
    state.access = state.refresh = state.until = null;
    one("#curl").textContent = "";
    kept(null);
  }

  function left(text) {
    forget();
    one("#signed-in").hidden = true;
    one("#signed-in > .refusal").hidden = true;
    all("#way-in, .ways").forEach((element) => { element.hidden = false; });
    note("");
    title(heading);
    say(text || "You are signed out.");
  }

  // A refresh token is traded once: two pages that trade the same cookie would end the session.
  function renewed() {
    const trade = () => call(site.calls.renew, site.tokens.refresh ? { [site.tokens.refresh]: state.refresh } : undefined);
    return navigator.locks ? navigator.locks.request("thalweg-refresh-" + site.key, trade) : trade();
  }

  async function copy() {
    const text = one("#curl").textContent;
    try {
      await navigator.clipboard.writeText(text);
      note("Copied.");
    } catch (refused) {
      window.getSelection().selectAllChildren(one("#curl"));
      note("Marked: copy it with the keyboard.");
    }
  }

  function panel() {
    const press = (id, act) => { const button = document.getElementById(id); if (button) button.addEventListener("click", act); };
    press("copy", copy);
    press("renew", async () => {
      const answer = await renewed();
      if (!answer.ok) return complain(answer);
      take(answer.data);
      await show();
      return note("This is a fresh token.");
    });
    press("send-verification", async () => {
      const answer = await call(site.calls.send_verification, undefined, state.access);
      if (!answer.ok) return complain(answer);
      return note((answer.data && answer.data.message) || "The mail is on its way.");
    });
    press("out", async () => {
      const answer = await call(site.calls.out, site.tokens.refresh ? { [site.tokens.refresh]: state.refresh } : undefined, state.access);
      if (!answer.ok && answer.status !== 401) return complain(answer);
      return left(answer.ok && answer.data && answer.data.message);
    });
  }

  // A session in a cookie outlives the page; whether there is one is only asked where one was opened in this tab.
  async function restore() {
    if (!site.returns || kept() !== site.key) return;
    if (site.calls.renew) {
      const answer = await renewed();
      if (!answer.ok) return kept(null);
      take(answer.data);
    }
    await show();
  }

  // --- invitations and claims ------------------------------------------------------------------------------------

  const post = (url) => call({ method: "POST", url: url + "?surface=" + site.key }, { token });

  function closed(answer) {
    all("[data-with-token]").forEach((element) => { element.hidden = true; });
    tell(one("#cannot"), told(answer).text).focus();
  }

  async function invite() {
    const answer = await post("/account/invite/look");
    if (!answer.ok) return closed(answer);
    const found = answer.data;
    const who = found.invited_by || "An administrator";
    const what = found.organisation ? "to “" + found.organisation + "”" + (found.role ? " (" + found.role + ")" : "") : "to " + site.name;
    one("#invited").textContent = who + " invites " + (found.email || "you") + " " + what + ", until " + moment(found.expires_at) + ".";
    const joins = Boolean(found.has_account && found.organisation);
    one("#has-account").hidden = !joins;
    one("#no-account").hidden = joins;
    all("[data-invite] input[name=email]").forEach((email) => {
      if (!found.email) return;
      email.value = email.defaultValue = found.email;
      email.readOnly = true;
    });
    return undefined;
  }

  async function claim() {
    const answer = await post("/account/claim/look");
    if (!answer.ok) return closed(answer);
    const found = answer.data;
    one("#claimed").textContent = "May " + found.base_url + " be connected to “" + found.organisation + "”?";
    [["Asked by", found.administrator], ["Instance", found.instance_id], ["Answer until", moment(found.expires_at)]].forEach(([label, value]) => {
      if (!value) return;
      const pair = made("div");
      pair.append(made("dt", label), made("dd", value));
      one("#claim").append(pair);
    });
    if (found.accepted !== null) return decided(found);
    const buttons = all("[data-decide]");
    buttons.forEach((button) => button.addEventListener("click", async () => {
      buttons.forEach((each) => { each.disabled = true; });
      const said = await post("/account/claim/" + button.dataset.decide);
      return said.ok ? decided(said.data) : closed(said);
    }));
    return undefined;
  }

  function decided(found) {
    all("[data-with-token]").forEach((element) => { element.hidden = true; });
    say(found.accepted ? found.base_url + " is accepted. It connects by itself within a few minutes." : found.base_url + " is refused. Nothing of it comes in.");
  }

  // --- the page ------------------------------------------------------------------------------------------------------

  all("[data-with-token]").forEach((element) => { element.hidden = !token; });
  all("[data-without-token]").forEach((element) => { element.hidden = Boolean(token); });
  all("form.account").forEach(prepare);
  if (one("#signed-in")) panel();
  ask();
  if (one("[data-restore]")) restore();
  if (token && one("[data-invite]")) invite();
  if (token && one("[data-claim]")) claim();
})();
