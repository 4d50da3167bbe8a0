//! The templates of e-mails, in German and English.
//!
//! A template has the path `<language>/<kind>.<part>`, and extends `layout.txt` or `layout.html`: these
//! have the greeting, the brand and the closing. The operator's directory may replace any of them. All
//! are rendered once at the start, so that a broken template aborts the start.

use std::{collections::BTreeSet, fs, io, path::Path};

use chrono::{DateTime, Utc};
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::local_time::spell_time;
use crate::{
    brand::{Brand, BrandContact, Logo},
    domain::{
        change_notice::{NoticeKind, NoticedChange},
        contact::Locale,
        mail::MailKind,
    },
    error::{Error, Result},
};

const LOCALES: [Locale; 2] = [Locale::German, Locale::English];

/// The Content-ID of the logo.
pub(super) const LOGO_ID: &str = "logo@contact-service";

macro_rules! source {
    ($($part:expr),+) => {
        (concat!($($part),+), include_str!(concat!("templates/", $($part),+)))
    };
}

macro_rules! built_in {
    (layouts: $($layout:literal),+; mails: $($mail:literal),+ $(,)?) => {
        &[
            $(source!($layout),)+
            $(
                source!("de/", $mail, ".subject"),
                source!("de/", $mail, ".txt"),
                source!("de/", $mail, ".html"),
                source!("en/", $mail, ".subject"),
                source!("en/", $mail, ".txt"),
                source!("en/", $mail, ".html"),
            )+
        ]
    };
}

const BUILT_IN: &[(&str, &str)] = built_in![
    layouts: "layout.txt", "layout.html", "button.html";
    mails:
        "email_confirmation",
        "email_confirmation_reminder",
        "email_replaced",
        "phone_password_locked",
        "contacts_changed",
        "contacts_review",
        "one_time_code",
];

/// The validated templates.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    brand: Brand,
}

/// The values of an e-mail.
#[derive(Clone, Debug)]
pub(super) struct Values {
    /// The contact's display name.
    pub(super) name: String,
    /// The customer's number.
    pub(super) customer_number: String,
    /// The link that confirms the address; empty if there is nothing to confirm.
    pub(super) link: String,
    /// The one-time code; empty if there is none.
    pub(super) code: String,
    /// The expiry of the link or the code.
    pub(super) expire_time: Option<DateTime<Utc>>,
    /// The time of the change.
    pub(super) event_time: DateTime<Utc>,
    /// The changes of a notice of rule 31.
    pub(super) changes: Vec<NoticedChange>,
}

/// A rendered e-mail.
#[derive(Clone, Debug)]
pub(super) struct Rendered {
    /// The subject, a single line.
    pub(super) subject: String,
    /// The body in plain text.
    pub(super) text: String,
    /// The body in HTML.
    pub(super) html: String,
    /// The logo, if the HTML shows it.
    pub(super) logo: Option<Logo>,
}

impl Templates {
    /// Loads the templates, with those of the operator's `folder` instead of the built-in ones, and
    /// renders each once for `brand`.
    ///
    /// # Errors
    /// The template and its error in one line.
    pub fn load(folder: Option<&Path>, brand: &Brand) -> std::result::Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_global("brand", brand_values(brand));
        if let Some(folder) = folder {
            reject_unknown_files(folder)?;
        }
        for (name, built_in) in BUILT_IN {
            let custom = folder.map(|folder| read_custom(folder, name)).transpose()?;
            let source = custom.flatten().unwrap_or_else(|| (*built_in).to_owned());
            environment
                .add_template_owned(*name, source)
                .map_err(|error| describe(name, &error))?;
        }
        let templates = Self {
            environment,
            brand: brand.clone(),
        };
        templates.validate()?;
        Ok(templates)
    }

    /// Returns the brand that the e-mails show.
    pub(super) fn brand(&self) -> &Brand {
        &self.brand
    }

    /// Renders an e-mail.
    ///
    /// # Errors
    /// [`Error::Internal`] if a template cannot be rendered with these values.
    pub(super) fn render(
        &self,
        kind: MailKind,
        locale: Locale,
        values: &Values,
    ) -> Result<Rendered> {
        self.try_render(kind, locale, values)
            .map_err(|why| Error::internal(format!("mail template {why}")))
    }

    fn validate(&self) -> std::result::Result<(), String> {
        let time = DateTime::UNIX_EPOCH;
        let sample = Values {
            name: "Anna Schmidt".to_owned(),
            customer_number: "K-1001".to_owned(),
            link: "https://contact.example/confirm#token".to_owned(),
            code: "123456".to_owned(),
            expire_time: Some(time),
            event_time: time,
            changes: NoticeKind::ALL
                .map(|kind| NoticedChange {
                    kind,
                    contact_id: None,
                    name: "Anna Schmidt".to_owned(),
                    time,
                })
                .to_vec(),
        };
        for locale in LOCALES {
            for kind in MailKind::ALL {
                let rendered = self.try_render(kind, locale, &sample)?;
                let name = template_name(kind, locale, "");
                if rendered.subject.is_empty() || rendered.subject.contains('\n') {
                    return Err(format!("{name}subject: must give one line"));
                }
                for (part, body) in [("txt", rendered.text), ("html", rendered.html)] {
                    if body.trim().is_empty() {
                        return Err(format!("{name}{part}: must not be empty"));
                    }
                    if kind == MailKind::OneTimeCode && !body.contains(&sample.code) {
                        return Err(format!("{name}{part}: must hold {{{{ code }}}}"));
                    }
                    if kind.has_link() && !body.contains(&sample.link) {
                        return Err(format!("{name}{part}: must hold {{{{ link }}}}"));
                    }
                }
            }
        }
        Ok(())
    }

    fn try_render(
        &self,
        kind: MailKind,
        locale: Locale,
        values: &Values,
    ) -> std::result::Result<Rendered, String> {
        let spell = |time| spell_time(time, self.brand.time_zone, locale);
        let values = context! {
            locale => locale.as_str(),
            name => greeted_name(&values.name),
            customer_number => &values.customer_number,
            // The URL parser left no quotes and brackets; escaping would encode the slashes.
            link => Value::from_safe_string(values.link.clone()),
            code => &values.code,
            expire_time => values.expire_time.map(spell).unwrap_or_default(),
            event_time => spell(values.event_time),
            changes => values.changes.iter().map(|change| context! {
                kind => change.kind.as_str(),
                name => greeted_name(&change.name),
                time => spell(change.time),
            }).collect::<Vec<_>>(),
        };
        let render = |part: &str, context: &Value| {
            let name = template_name(kind, locale, part);
            self.environment
                .get_template(&name)
                .and_then(|template| template.render(context))
                .map_err(|error| describe(&name, &error))
        };
        let subject = render("subject", &values)?.trim().to_owned();
        let values = context! { subject => &subject, ..values };
        let html = render("html", &values)?;
        let shows_logo = html.contains(LOGO_ID);
        Ok(Rendered {
            subject,
            // minijinja removes the last line end.
            text: render("txt", &values)? + "\n",
            html,
            logo: self.brand.logo.clone().filter(|_| shows_logo),
        })
    }
}

/// Returns the variable `brand` of the templates.
fn brand_values(brand: &Brand) -> Value {
    let logo = brand.logo.as_ref().map(|logo| {
        let (width, height) = logo.shown_size();
        context! { src => format!("cid:{LOGO_ID}"), width, height }
    });
    context! {
        name => brand.name.as_str(),
        contact => brand.contact.as_ref().map(BrandContact::as_str),
        color => brand.color.to_string(),
        text_color => brand.color.text_color().to_string(),
        logo,
    }
}

fn template_name(kind: MailKind, locale: Locale, part: &str) -> String {
    format!("{}/{}.{part}", locale.as_str(), kind.as_str())
}

/// Describes kind and position of an error, without the values of an e-mail.
fn describe(name: &str, error: &minijinja::Error) -> String {
    let mut cause = error;
    // An error inside a block is wrapped by the templates around it.
    while let Some(inner) = std::error::Error::source(cause)
        .and_then(|source| source.downcast_ref::<minijinja::Error>())
    {
        cause = inner;
    }
    let name = cause.name().unwrap_or(name);
    match cause.line() {
        Some(line) => format!("{name}, line {line}: {}", cause.kind()),
        None => format!("{name}: {}", cause.kind()),
    }
}

/// Returns the name, or an empty text for one that looks like a URL: mail programs would turn it into
/// a link, which anyone could have sent to a stranger's address.
fn greeted_name(name: &str) -> &str {
    let chars: Vec<char> = name.chars().collect();
    let is_dot_inside = |window: &[char]| matches!(window, [before, '.', after] if before.is_alphanumeric() && after.is_alphanumeric());
    if name.contains("://") || name.contains('@') || chars.windows(3).any(is_dot_inside) {
        ""
    } else {
        name
    }
}

/// Rejects files that replace no template: a misspelt name would be ignored silently.
fn reject_unknown_files(folder: &Path) -> std::result::Result<(), String> {
    let known: BTreeSet<_> = BUILT_IN.iter().map(|(name, _)| folder.join(name)).collect();
    let failed = |folder: &Path, error: &io::Error| {
        format!("{} cannot be read: {}", folder.display(), error.kind())
    };
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let entries = fs::read_dir(&current).map_err(|error| failed(&current, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| failed(&current, &error))?.path();
            // Files of orchestrators and editors.
            let is_hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if is_hidden {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if !known.contains(&path) {
                return Err(format!(
                    "{} replaces no template; there are layout.txt, layout.html, button.html, and de/ and en/ with {}, each .subject, .txt and .html",
                    path.display(),
                    MailKind::ALL.map(MailKind::as_str).join(", ")
                ));
            }
        }
    }
    Ok(())
}

fn read_custom(folder: &Path, name: &str) -> std::result::Result<Option<String>, String> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(source) => Ok(Some(source)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!(
            "{} cannot be read: {}",
            path.display(),
            error.kind()
        )),
    }
}

#[cfg(test)]
mod tests;
