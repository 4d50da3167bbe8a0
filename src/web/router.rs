//! The routes of the confirmation page, its response headers, and the check of the origin.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, Method, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
            STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{
    brand::{logo, style},
    listener,
    page::{Page, inspect, press, repair, show},
};
use crate::{app::App, brand::Brand};

const SCRIPT: &str = include_str!("page/script.js");

/// No content from other origins, no inline code, no forms, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// Sent for an HTTPS origin. Without subdomains, which belong to other services.
const HSTS: &str = "max-age=31536000";
/// The headers of every response, unless it has its own.
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

/// Returns the routes of the confirmation page of `brand` with the public `origin`.
///
/// # Errors
/// One line that names the missing text of the page.
pub fn router(app: App, origin: String, brand: &Brand) -> std::result::Result<Router, String> {
    let page = Page::new(app, brand)?;
    let file = |content_type: &'static str, content: Bytes| {
        get(move || async move { ([(CONTENT_TYPE, content_type)], content) })
    };
    let routes = Router::new()
        .route("/confirm", get(show))
        .route(
            "/confirm/style.css",
            file("text/css; charset=utf-8", style(brand.color).into()),
        )
        .route("/confirm/logo", logo(brand))
        .route(
            "/confirm/script.js",
            file("text/javascript; charset=utf-8", SCRIPT.into()),
        )
        .route("/confirm/inspect", post(inspect))
        .route("/confirm/press", post(press))
        .fallback(repair);
    Ok(listener::read_bodies(routes)
        .layer(middleware::from_fn_with_state(
            Arc::new(origin),
            check_origin,
        ))
        .with_state(Arc::new(page)))
}

/// Rejects requests from pages of other origins, and adds the response headers.
async fn check_origin(State(origin): State<Arc<String>>, request: Request, next: Next) -> Response {
    let mut response = if is_cross_origin(&request, &origin) {
        StatusCode::FORBIDDEN.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if origin.starts_with("https://") {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    response
}

/// Returns true for a POST that another origin caused. Browsers send the headers; other clients may
/// omit them.
fn is_cross_origin(request: &Request, own_origin: &str) -> bool {
    let differs = |header: &str, expected: &str| {
        let value = request.headers().get(header);
        value.is_some_and(|value| value != expected)
    };
    request.method() == Method::POST
        && (differs("sec-fetch-site", "same-origin") || differs("origin", own_origin))
}
