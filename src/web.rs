//! The page `/confirm`, for the public: it shows what a mailed link is about, and
//! confirms the address when a person presses its button.
//!
//! The token stands behind the `#` of the link, so it comes here in the body of a
//! request of the page's own script and in nothing that is logged. Mail scanners open
//! links, run scripts and submit forms: nothing but the press confirms (rule 9).

mod language;
mod link;
mod listener;
mod monitoring;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
            REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
            X_FRAME_OPTIONS,
        },
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use minijinja::{Environment, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use self::language::Language;
pub use self::{
    listener::{ListenerLimits, serve},
    monitoring::monitoring_router,
};
use crate::{
    app::{App, Inspection},
    domain::{
        audit::Actor,
        email_confirmation::{ConfirmationState, ConfirmationToken},
    },
    error::{Error, Result},
    observability::metrics::{Limit, limit_hit},
};

const TEMPLATE: &str = include_str!("web/page/confirm.html");
const GERMAN_TEXTS: &str = include_str!("web/page/de.json");
const ENGLISH_TEXTS: &str = include_str!("web/page/en.json");
const STYLE: &str = include_str!("web/page/style.css");
const SCRIPT: &str = include_str!("web/page/script.js");

/// Nothing from elsewhere, nothing inline, no forms, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// For a page that is reached by HTTPS: its host only, as others of the domain are not ours.
const HSTS: &str = "max-age=31536000";
/// The same on every answer, whatever its status.
const HEADERS: [(HeaderName, &str); 8] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// How many of the public may ask the database at once: the calls of gRPC come first.
const PLACES: usize = 4;
/// How long one waits for a place.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the page is made of.
#[derive(Debug)]
struct Page {
    app: App,
    places: Semaphore,
    german: String,
    english: String,
}

/// What the page's script sends.
#[derive(Deserialize)]
struct Link {
    token: String,
}

/// What the page's script is told.
#[derive(Debug, Serialize)]
struct Answer {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked_email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
    already_confirmed: bool,
}

/// The routes of the page, which browsers know by `origin`.
///
/// # Errors
/// A line that says which of its texts is missing.
pub fn router(app: App, origin: String) -> std::result::Result<Router, String> {
    let page = Page {
        app,
        places: Semaphore::new(PLACES),
        german: render(Language::German)?,
        english: render(Language::English)?,
    };
    let file = |content_type: &'static str, content: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, content_type)], content) })
    };
    let routes = Router::new()
        .route("/confirm", get(show))
        .route("/confirm/style.css", file("text/css; charset=utf-8", STYLE))
        .route(
            "/confirm/script.js",
            file("text/javascript; charset=utf-8", SCRIPT),
        )
        .route("/confirm/inspect", post(inspect))
        .route("/confirm/press", post(press))
        .fallback(repair);
    Ok(listener::read_bodies(routes)
        .layer(middleware::from_fn_with_state(Arc::new(origin), guard))
        .with_state(Arc::new(page)))
}

fn render(language: Language) -> std::result::Result<String, String> {
    let failed = |why: &dyn std::fmt::Display| format!("the page {}: {why}", language.as_str());
    let texts = match language {
        Language::German => GERMAN_TEXTS,
        Language::English => ENGLISH_TEXTS,
    };
    let text: BTreeMap<String, String> =
        serde_json::from_str(texts).map_err(|error| failed(&error))?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
        .add_template("confirm.html", TEMPLATE)
        .and_then(|()| environment.get_template("confirm.html"))
        .and_then(|template| template.render(context! { lang => language.as_str(), text }))
        .map_err(|error| failed(&error))
}

/// Rejects requests from the pages of others, and adds the headers.
async fn guard(State(origin): State<Arc<String>>, request: Request, next: Next) -> Response {
    let mut response = if is_foreign(&request, &origin) {
        StatusCode::FORBIDDEN.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if origin.starts_with("https://") {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    response
}

/// A browser says where a POST comes from; others need not.
fn is_foreign(request: &Request, own_origin: &str) -> bool {
    let says = |header: &str, other_than: &str| {
        let value = request.headers().get(header);
        value.is_some_and(|value| value != other_than)
    };
    request.method() == Method::POST
        && (says("sec-fetch-site", "same-origin") || says("origin", own_origin))
}

async fn show(State(page): State<Arc<Page>>, uri: Uri, headers: HeaderMap) -> Response {
    // A tracker may have made the fragment a part of the query.
    if let Some(location) = link::misplaced_token(&uri) {
        return see_other(location);
    }
    let wanted = headers
        .get(ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok());
    let html = match Language::preferred(wanted) {
        Language::German => page.german.clone(),
        Language::English => page.english.clone(),
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (VARY, "accept-language"),
    ];
    (headers, html).into_response()
}

/// Leads a link that was damaged on its way to the page. Nothing of it is looked up here.
async fn repair(method: Method, uri: Uri) -> Response {
    let is_read = matches!(method, Method::GET | Method::HEAD);
    match link::repaired(&uri).filter(|_| is_read) {
        Some(location) => see_other(location),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn see_other(location: String) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

async fn inspect(State(page): State<Arc<Page>>, Json(link): Json<Link>) -> Response {
    page.answer(&link, false).await
}

async fn press(State(page): State<Arc<Page>>, Json(link): Json<Link>) -> Response {
    page.answer(&link, true).await
}

impl Page {
    async fn answer(&self, link: &Link, confirms: bool) -> Response {
        let Ok(token) = ConfirmationToken::parse(&link.token) else {
            return Json(Answer::unknown()).into_response();
        };
        let Ok(_place) = tokio::time::timeout(PATIENCE, self.places.acquire()).await else {
            limit_hit(Limit::PageLookups);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        let answer = if confirms {
            self.confirm(&token).await
        } else {
            self.inspect(&token).await
        };
        match answer {
            Ok(answer) => Json(answer).into_response(),
            Err(error) => {
                tracing::warn!(%error, "the confirmation page could not answer");
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
        }
    }

    async fn inspect(&self, token: &ConfirmationToken) -> Result<Answer> {
        match self.app.inspect_email_confirmation(token).await {
            Ok(inspection) => Ok(Answer::of(inspection)),
            Err(Error::ConfirmationNotFound) => Ok(Answer::unknown()),
            Err(error) => Err(error),
        }
    }

    async fn confirm(&self, token: &ConfirmationToken) -> Result<Answer> {
        let actor = Actor::confirmation_page();
        let already_confirmed = match self.app.confirm_email(&actor, token).await {
            Ok(confirmed) => confirmed.already,
            Err(
                Error::ConfirmationNotFound
                | Error::ConfirmationExpired
                | Error::ConfirmationSuperseded,
            ) => false,
            Err(error) => return Err(error),
        };
        let mut answer = self.inspect(token).await?;
        answer.already_confirmed = already_confirmed;
        Ok(answer)
    }
}

impl Answer {
    fn of(inspection: Inspection) -> Self {
        Self {
            state: match inspection.state {
                ConfirmationState::Pending => "pending",
                ConfirmationState::Confirmed => "confirmed",
                ConfirmationState::Expired => "expired",
                ConfirmationState::Superseded => "superseded",
            },
            masked_email: Some(inspection.masked_email),
            expire_time: Some(inspection.expire_time.to_rfc3339()),
            already_confirmed: false,
        }
    }

    fn unknown() -> Self {
        Self {
            state: "unknown",
            masked_email: None,
            expire_time: None,
            already_confirmed: false,
        }
    }
}
