//! Links as they arrive after mail programs, trackers and people: with a slash at the end, in
//! capitals, with an encoded `#`, with punctuation. Each leads to the page by a redirect that puts
//! the token after a `#` again, where no further server sees it.

use axum::http::Uri;

use crate::domain::email_confirmation::{ConfirmationToken, decoded};

const PAGE: &str = "confirm";

/// Where a path leads that was meant for the page; `None` for any other path.
///
/// The location is relative, because the page may be served below a path prefix that only the
/// public URL knows. A browser keeps the fragment of a link over a redirect without one.
pub(super) fn repaired(uri: &Uri) -> Option<String> {
    let path = decoded(uri.path());
    let name = path.trim_start_matches('/').get(..PAGE.len())?;
    let rest = path.trim_start_matches('/').get(PAGE.len()..)?;
    let is_page =
        name.eq_ignore_ascii_case(PAGE) && !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    is_page.then(|| location(uri))
}

/// Where a link to the page leads whose path or query holds the token.
pub(super) fn misplaced_token(uri: &Uri) -> Option<String> {
    let token = ConfirmationToken::parse(&uri.to_string());
    token.is_ok().then(|| location(uri))
}

fn location(uri: &Uri) -> String {
    let depth = uri.path().matches('/').count().saturating_sub(1);
    let mut location = "../".repeat(depth) + PAGE;
    if let Ok(token) = ConfirmationToken::parse(&uri.to_string()) {
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
    fn a_damaged_link_leads_to_the_page(#[case] link: &str, #[case] location: Option<&str>) {
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
    fn a_token_in_the_query_moves_to_the_fragment(
        #[case] link: &str,
        #[case] location: Option<&str>,
    ) {
        let token = format!("K-1.{DIGITS}");
        let uri: Uri = link.replace("TOKEN", &token).parse().unwrap();
        let location = location.map(|location| location.replace("TOKEN", &token));
        assert_eq!(misplaced_token(&uri), location);
    }
}
