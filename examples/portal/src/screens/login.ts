// The login of the demo. Replace this file and src/tokens.ts by the login of your identity provider: with
// OpenID Connect, the authorization code flow with PKCE, and the access token kept in the session.

import { attribute, html, type Html } from "../html.ts";
import { csrfField } from "../layout.ts";
import { link, page, redirect, type Reply, type Screen, type Visit } from "../screen.ts";

const screen: Screen = {
  routes: [
    { method: "GET", path: "/login", isPublic: true, handle: (visit) => show(visit, "") },
    { method: "POST", path: "/login", isPublic: true, handle: logIn },
    { method: "POST", path: "/logout", isPublic: true, handle: logOut },
  ],
};
export default screen;

const CUSTOMER_NUMBER = /^[A-Z0-9-]{1,32}$/i;

const TEXTS = {
  de: {
    title: "Anmelden",
    demo: "Dies ist eine Demo",
    demoHint:
      "Hier meldet sich jeder ohne Passwort als Beispielkunde an. Ein echtes Portal nutzt an dieser Stelle die Anmeldung Ihres Identitätsanbieters.",
    choose: "Als Beispielkunde anmelden",
    other: "Andere Kundennummer",
    logIn: "Anmelden",
    invalid: "Bitte geben Sie eine Kundennummer ein: 1 bis 32 Buchstaben, Ziffern und Bindestriche.",
    samples: {
      "K-1001": "Ansprechpartner aller Art, zwei teilen sich eine Adresse",
      "K-1002": "Rechnungen kommen per Post, zwei Adressen sind vorgemerkt",
      "K-1003": "noch keine Ansprechpartner",
    },
  },
  en: {
    title: "Log in",
    demo: "This is a demo",
    demoHint:
      "Everyone logs in as a sample customer here, without a password. A real portal uses the login of your identity provider at this point.",
    choose: "Log in as a sample customer",
    other: "Another customer number",
    logIn: "Log in",
    invalid: "Please enter a customer number: 1 to 32 letters, digits and hyphens.",
    samples: {
      "K-1001": "contacts of every kind, two of them share an address",
      "K-1002": "invoices come by post, two addresses are pending",
      "K-1003": "no contacts yet",
    },
  },
};

function show(visit: Visit, error: string): Reply {
  const t = TEXTS[visit.language];
  const samples = Object.entries(t.samples).map(
    ([number, text]) => html`<li><button class="sample" name="sample" value="${number}">
      <strong>${number}</strong> <span>${text}</span></button></li>`,
  );
  const body = html`<section class="card narrow">
    <h1>${t.title}</h1>
    <div class="notice warning"><h2>${t.demo}</h2><p>${t.demoHint}</p></div>
    ${form(visit, html`<h2>${t.choose}</h2><ul class="samples">${samples}</ul>`)}
    ${form(
      visit,
      html`<div class="field${error && " invalid"}">
        <label for="customerNumber">${t.other}</label>
        <div class="joined">
          <input id="customerNumber" name="customerNumber" autocomplete="username" maxlength="32"
            ${attribute("aria-invalid", error !== "" && "true")}${attribute("aria-describedby", error !== "" && "customerNumber-error")}>
          <button class="button">${t.logIn}</button>
        </div>
        ${error && html`<p class="error" id="customerNumber-error" role="alert">${error}</p>`}
      </div>`,
    )}
  </section>`;
  return page(t.title, body, error ? 422 : 200);
}

function form(visit: Visit, content: Html): Html {
  return html`<form method="post" action="${link(visit, "/login")}">${csrfField(visit)}${content}</form>`;
}

function logIn(visit: Visit): Reply {
  const number = (visit.form.get("sample") ?? visit.form.get("customerNumber") ?? "").trim();
  if (!CUSTOMER_NUMBER.test(number)) {
    return show(visit, TEXTS[visit.language].invalid);
  }
  visit.logIn(number);
  return redirect(visit, "/contacts");
}

function logOut(visit: Visit): Reply {
  visit.logOut();
  return redirect(visit, "/login");
}
