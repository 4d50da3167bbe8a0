//! The confirmation page: the document in German and English, and the requests of its script.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{
        HeaderMap, Method, StatusCode, Uri,
        header::{ACCEPT_LANGUAGE, CONTENT_TYPE, LOCATION, VARY},
    },
    response::{IntoResponse, Response},
};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::link;
use crate::{
    app::{App, Inspection},
    brand::{Brand, BrandContact},
    domain::{
        audit::Actor,
        email_confirmation::{ConfirmationState, ConfirmationToken},
    },
    error::{Error, Result},
    localization::Language,
    observability::metrics::{Limit, limit_hit},
};

const TEMPLATE: &str = include_str!("page/confirm.html");
const GERMAN_TEXTS: &str = include_str!("page/de.json");
const ENGLISH_TEXTS: &str = include_str!("page/en.json");

/// Maximum number of concurrent database requests of the page, so that gRPC requests take precedence.
const MAX_LOOKUPS: usize = 4;
/// How long a request waits for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The state of the page: its documents and the limit of its lookups.
#[derive(Debug)]
pub(super) struct Page {
    app: App,
    lookups: Semaphore,
    german: String,
    english: String,
}

/// A request of the page's script.
#[derive(Deserialize)]
pub(super) struct Link {
    token: String,
}

/// The response to the page's script.
#[derive(Debug, Serialize)]
struct LinkState {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked_email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
    already_confirmed: bool,
}

fn render(language: Language, brand: &Brand) -> std::result::Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("confirmation page ({}): {error}", language.as_str())
    };
    let texts = match language {
        Language::German => GERMAN_TEXTS,
        Language::English => ENGLISH_TEXTS,
    };
    let mut text: BTreeMap<String, String> =
        serde_json::from_str(texts).map_err(|error| failed(&error))?;
    for text in text.values_mut() {
        *text = text.replace("{brand}", brand.name.as_str());
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let values = context! {
        lang => language.as_str(),
        text,
        brand => brand_values(brand),
        // The zone's slash may stay as it is.
        time_zone => Value::from_safe_string(brand.time_zone.name().to_owned()),
    };
    environment
        .add_template("confirm.html", TEMPLATE)
        .and_then(|()| environment.get_template("confirm.html"))
        .and_then(|template| template.render(values))
        .map_err(|error| failed(&error))
}

fn brand_values(brand: &Brand) -> Value {
    let logo = brand.logo.as_ref().map(|logo| {
        let (width, height) = logo.shown_size();
        context! { width, height }
    });
    context! {
        name => brand.name.as_str(),
        contact => brand.contact.as_ref().map(BrandContact::as_str),
        logo,
    }
}

/// Returns the page, in the preferred language of the browser.
pub(super) async fn show(State(page): State<Arc<Page>>, uri: Uri, headers: HeaderMap) -> Response {
    // Link trackers may move the fragment into the query.
    if let Some(location) = link::misplaced_token(&uri) {
        return see_other(location);
    }
    let accepted = headers
        .get(ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok());
    let html = match Language::preferred(accepted, Language::German) {
        Language::German => page.german.clone(),
        Language::English => page.english.clone(),
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (VARY, "accept-language"),
    ];
    (headers, html).into_response()
}

/// Redirects a damaged link to the page. The token is not looked up here.
pub(super) async fn repair(method: Method, uri: Uri) -> Response {
    let is_safe = matches!(method, Method::GET | Method::HEAD);
    match link::repaired(&uri).filter(|_| is_safe) {
        Some(location) => see_other(location),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn see_other(location: String) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

/// Returns the state of a link. Changes nothing.
pub(super) async fn inspect(State(page): State<Arc<Page>>, Json(link): Json<Link>) -> Response {
    page.respond(&link, false).await
}

/// Confirms the address of a link.
pub(super) async fn press(State(page): State<Arc<Page>>, Json(link): Json<Link>) -> Response {
    page.respond(&link, true).await
}

impl Page {
    /// Renders the page in both languages.
    ///
    /// # Errors
    /// One line that names the missing text.
    pub(super) fn new(app: App, brand: &Brand) -> std::result::Result<Self, String> {
        Ok(Self {
            app,
            lookups: Semaphore::new(MAX_LOOKUPS),
            german: render(Language::German, brand)?,
            english: render(Language::English, brand)?,
        })
    }

    async fn respond(&self, link: &Link, confirm: bool) -> Response {
        let Some(token) = ConfirmationToken::parse(&link.token) else {
            return Json(LinkState::unknown()).into_response();
        };
        let permit = tokio::time::timeout(PERMIT_TIMEOUT, self.lookups.acquire()).await;
        let Ok(_permit) = permit else {
            limit_hit(Limit::PageLookups);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        let state = if confirm {
            self.confirm(&token).await
        } else {
            self.inspect(&token).await
        };
        match state {
            Ok(state) => Json(state).into_response(),
            Err(error) => {
                tracing::warn!(%error, "request of the confirmation page failed");
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
        }
    }

    async fn inspect(&self, token: &ConfirmationToken) -> Result<LinkState> {
        match self.app.inspect_email_confirmation(token).await {
            Ok(inspection) => Ok(LinkState::from_inspection(inspection)),
            Err(Error::ConfirmationNotFound) => Ok(LinkState::unknown()),
            Err(error) => Err(error),
        }
    }

    async fn confirm(&self, token: &ConfirmationToken) -> Result<LinkState> {
        let actor = Actor::confirmation_page();
        let already_confirmed = match self.app.confirm_email(&actor, token).await {
            Ok(confirmed) => confirmed.already_confirmed,
            Err(
                Error::ConfirmationNotFound
                | Error::ConfirmationExpired
                | Error::ConfirmationSuperseded,
            ) => false,
            Err(error) => return Err(error),
        };
        let mut state = self.inspect(token).await?;
        state.already_confirmed = already_confirmed;
        Ok(state)
    }
}

impl LinkState {
    fn from_inspection(inspection: Inspection) -> Self {
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
