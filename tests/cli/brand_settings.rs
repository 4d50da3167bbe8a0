//! Invalid settings of the brand abort the start with one line that names the setting.

use std::fs;

use rstest::rstest;

use crate::settings::{assert_rejected, sandbox};

#[rstest]
#[case("BRAND_NAME", "one\ntwo", "must not contain line ends")]
#[case("BRAND_CONTACT", "one\u{202e}two", "must not contain line ends")]
#[case("BRAND_COLOR", "blue", "must be a color as #rrggbb")]
#[case(
    "BRAND_LOGO",
    "missing",
    "missing cannot be read: there is no such file"
)]
#[case("BRAND_LOGO", ".", ". cannot be read: is a directory")]
#[case("BRAND_LOGO", "rubbish", "rubbish is no complete PNG file")]
#[case("TIME_ZONE", "MEZ", "must be a time zone of the IANA database")]
fn invalid_brand_aborts_startup(
    #[case] setting: &'static str,
    #[case] value: &str,
    #[case] why: &str,
) {
    assert_rejected(&sandbox().with(setting, value), &[], setting, why);
}

#[test]
fn too_large_logo_aborts_startup() {
    let sandbox = sandbox().with("BRAND_LOGO", "large.png");
    fs::write(sandbox.path().join("large.png"), vec![0; 100 * 1024 + 1]).unwrap();
    assert_rejected(
        &sandbox,
        &[],
        "BRAND_LOGO",
        "large.png has more than 100 KiB",
    );
}

#[test]
fn unsuitable_sender_name_requires_a_brand_name() {
    let sender = format!("{} <a@b.example>", "x".repeat(61));
    let sandbox = sandbox().with("MAIL_FROM", &sender);
    assert_rejected(&sandbox, &[], "BRAND_NAME", "the name in MAIL_FROM");
    let named = sandbox
        .with("BRAND_NAME", "Example")
        .with("LOG_FORMAT", "xml");
    assert_rejected(&named, &[], "LOG_FORMAT", "\"xml\" is neither");
}

#[test]
fn empty_brand_is_treated_as_unset() {
    let mut sandbox = sandbox().with("LOG_FORMAT", "xml");
    for setting in [
        "BRAND_NAME",
        "BRAND_LOGO",
        "BRAND_COLOR",
        "BRAND_CONTACT",
        "TIME_ZONE",
    ] {
        sandbox = sandbox.with(setting, "");
    }
    assert_rejected(&sandbox, &[], "LOG_FORMAT", "\"xml\" is neither");
}
