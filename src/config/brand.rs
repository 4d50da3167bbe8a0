//! The settings of the brand.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;

use super::{
    error::ConfigError,
    validation::{non_empty, non_empty_path, validate},
};
use crate::{
    brand::{Brand, BrandContact, BrandName, Color, parse_time_zone},
    mail::Sender,
};

/// The settings of the brand as text.
#[derive(Args, Clone, Debug)]
pub(super) struct BrandSettings {
    /// Name of the provider on the page and in e-mails; none: the name or domain in `MAIL_FROM`
    #[arg(long, env, global = true, hide_env_values = true)]
    brand_name: Option<String>,
    /// PNG file of the logo, up to 100 KiB; none: the name
    #[arg(long, env, global = true, hide_env_values = true)]
    brand_logo: Option<OsString>,
    /// Accent color as #rrggbb
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "#0b4a80"
    )]
    brand_color: String,
    /// Line with the ways to reach the provider, such as `0211 1234-0, kontakt@example.com`; none: no line
    #[arg(long, env, global = true, hide_env_values = true)]
    brand_contact: Option<String>,
    /// Time zone of times in e-mails, such as Europe/Zurich
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "Europe/Berlin"
    )]
    time_zone: String,
}

impl BrandSettings {
    /// Returns the file of the logo.
    pub(super) fn logo(&self) -> Option<PathBuf> {
        non_empty_path(self.brand_logo.clone())
    }

    /// Validates all settings but the logo, which only `serve` reads. The default name is that of the
    /// sender.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub(super) fn validate(self, sender: &Sender) -> Result<Brand, ConfigError> {
        let mut brand = Brand::new(brand_name(self.brand_name, sender)?);
        brand.contact = non_empty(self.brand_contact)
            .map(|text| validate("BRAND_CONTACT", BrandContact::parse(&text)))
            .transpose()?;
        if let Some(text) = non_empty(Some(self.brand_color)) {
            brand.color = validate("BRAND_COLOR", Color::parse(&text))?;
        }
        if let Some(text) = non_empty(Some(self.time_zone)) {
            brand.time_zone = validate("TIME_ZONE", parse_time_zone(&text))?;
        }
        Ok(brand)
    }
}

fn brand_name(name: Option<String>, sender: &Sender) -> Result<BrandName, ConfigError> {
    let setting = "BRAND_NAME";
    match non_empty(name) {
        Some(name) => validate(setting, BrandName::parse(&name)),
        None => BrandName::parse(sender.name_or_domain()).map_err(|invalid| {
            let why = format!(
                "must be set where the name in MAIL_FROM cannot be used: it {}",
                invalid.0
            );
            ConfigError::new(setting, why)
        }),
    }
}
