//! Repair of links that mail programs, trackers and people have damaged: a trailing slash, capitals, an
//! encoded `#`, punctuation. Each is redirected to the page with the token in the fragment, which no
//! further server receives.

use axum::http::Uri;

use crate::domain::email_confirmation::{ConfirmationToken, decoded};

const PAGE: &str = "confirm";

/// Returns the redirect for a damaged link to the page; `None` for any other path.
///
/// The location is relative, because the public URL of the page may have a path prefix. A browser keeps
/// the fragment of a link if the redirect has none.
pub(super) fn repaired(uri: &Uri) -> Option<String> {
    let path = decoded(uri.path());
    let name = path.trim_start_matches('/').get(..PAGE.len())?;
    let rest = path.trim_start_matches('/').get(PAGE.len()..)?;
    let is_page =
        name.eq_ignore_ascii_case(PAGE) && !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    is_page.then(|| location(uri))
}

/// Returns the redirect for a link whose path or query contains the token.
pub(super) fn misplaced_token(uri: &Uri) -> Option<String> {
    let token = ConfirmationToken::parse(&uri.to_string());
    token.is_some().then(|| location(uri))
}

fn location(uri: &Uri) -> String {
    let depth = uri.path().matches('/').count().saturating_sub(1);
    let mut location = "../".repeat(depth) + PAGE;
    if let Some(token) = ConfirmationToken::parse(&uri.to_string()) {
        location.push('#');
        location.push_str(&token.reveal());
    }
    location
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DIGITS: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[rstest]
    #[case("/confirm/", Some("../confirm"))]
    #[case("/confirm//", Some("../../confirm"))]
    #[case("//confirm", Some("../confirm"))]
    #[case("/Confirm", Some("confirm"))]
    #[case("/CONFIRM/", Some("../confirm"))]
    #[case("/confirm.", Some("confirm"))]
    #[case("/confirm)", Some("confirm"))]
    #[case("/confirm%20", Some("confirm"))]
    #[case("/confirm%C2%A0x", Some("confirm"))]
    #[case("/confirm%23TOKEN", Some("confirm#TOKEN"))]
    #[case("/confirm%2523TOKEN", Some("confirm#TOKEN"))]
    #[case("/confirm/%23TOKEN", Some("../confirm#TOKEN"))]
    #[case("/Confirm/%23TOKEN%3E.", Some("../confirm#TOKEN"))]
    #[case("/confirm=23TOKEN", Some("confirm#TOKEN"))]
    #[case("/confirm%3D23TOKEN", Some("confirm#TOKEN"))]
    #[case("/confirm%23K-1.%0AREST", Some("confirm#TOKEN"))]
    #[case("/confirm%23K-%201.REST", Some("confirm#TOKEN"))]
    #[case("/confirm%23K-1.=%0D%0AREST", Some("confirm#TOKEN"))]
    #[case("/confirm/TOKEN/", Some("../../confirm#TOKEN"))]
    #[case("/confirm%23token=TOKEN&utm_source=x", Some("confirm#TOKEN"))]
    #[case("/confirm/?utm_source=x%23TOKEN", Some("../confirm#TOKEN"))]
    #[case("/confirm/?utm_source=x", Some("../confirm"))]
    #[case("/confirmation", None)]
    #[case("/confirm2", None)]
    #[case("/elsewhere/confirm", None)]
    #[case("/", None)]
    #[case("/%FF%FE", None)]
    fn damaged_link_is_redirected_to_the_page(#[case] link: &str, #[case] location: Option<&str>) {
        let token = format!("K-1.{DIGITS}");
        let link = link.replace("TOKEN", &token).replace("REST", DIGITS);
        let uri: Uri = link.parse().unwrap();
        let location = location.map(|location| location.replace("TOKEN", &token));
        assert_eq!(repaired(&uri), location);
    }

    #[rstest]
    #[case("/confirm", None)]
    #[case("/confirm?utm_source=x", None)]
    #[case("/confirm?utm_source=x%23TOKEN", Some("confirm#TOKEN"))]
    #[case("/confirm?token=TOKEN", Some("confirm#TOKEN"))]
    fn token_in_the_query_moves_to_the_fragment(
        #[case] link: &str,
        #[case] location: Option<&str>,
    ) {
        let token = format!("K-1.{DIGITS}");
        let uri: Uri = link.replace("TOKEN", &token).parse().unwrap();
        let location = location.map(|location| location.replace("TOKEN", &token));
        assert_eq!(misplaced_token(&uri), location);
    }
}
