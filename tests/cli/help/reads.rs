//! The settings that a command reads, derived from the sources of the binary.
//!
//! Follows the calls from the entry function of a command, by name, through the functions of
//! `src/cli` and the start of logging, and collects the fields of `config` that they name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::visit::{self, Visit};

/// The file of the entry function of each command, and its name.
const ENTRIES: [(&str, &str, &str); 11] = [
    ("serve", "serve.rs", "serve"),
    ("migrate", "migrate.rs", "migrate"),
    ("token", "token.rs", "mint"),
    ("report-bounces", "report_bounces.rs", "run"),
    ("resolve", "resolve.rs", "run"),
    ("export", "export.rs", "run"),
    ("import", "import.rs", "run"),
    ("backup", "backup.rs", "run"),
    ("keys", "keys.rs", "keys"),
    ("verify-data", "verify_data.rs", "run"),
    ("healthcheck", "healthcheck.rs", "healthcheck"),
];

/// Fields and methods of `Config` whose settings have other names.
const OTHER_NAMES: [(&str, &[&str]); 17] = [
    ("database_url", &["DATABASE_URL", "DATA_DIR"]),
    ("mail_dir", &["DATA_DIR"]),
    ("jwks", &["JWT_JWKS", "JWT_ISSUER"]),
    ("issuers", &["JWT_ISSUER"]),
    ("audiences", &["JWT_AUDIENCE"]),
    ("scope_claim", &["JWT_SCOPE_CLAIM"]),
    ("customer_claim", &["JWT_CUSTOMER_CLAIM"]),
    ("max_lifetime", &["JWT_MAX_LIFETIME"]),
    ("tls", &["TLS_CERT", "TLS_KEY"]),
    // Variables of OpenTelemetry, which are no settings.
    ("collector", &[]),
    ("slow_request", &["SLOW_REQUEST_MILLIS"]),
    ("log_filter", &["RUST_LOG"]),
    ("events_kept_for", &["AUDIT_RETENTION_DAYS"]),
    ("serves_http_json", &["HTTP_JSON"]),
    ("reminds_of_reviews", &["REVIEW_REMINDER"]),
    ("auth", &[]),
    (
        "brand",
        &["BRAND_NAME", "BRAND_COLOR", "BRAND_CONTACT", "TIME_ZONE"],
    ),
];

/// Methods that copy or borrow the configuration as a whole.
const NO_SETTINGS: [&str; 2] = ["clone", "unwrap"];

/// Files of functions that commands share, each with a name by which a command imports from it.
const SHARED_FILES: [(&str, &str); 5] = [
    ("bootstrap::", "cli/bootstrap.rs"),
    ("logging", "observability/logging.rs"),
    ("demo,", "cli/demo.rs"),
    ("demo,", "cli/token.rs"),
    ("mod keys;", "cli/serve/keys.rs"),
];

/// The body of a function: the functions that it calls, and the members of `config` it names.
#[derive(Clone, Default)]
struct Body {
    calls: BTreeSet<String>,
    members: BTreeSet<String>,
}

/// Returns the environment variables of the settings that a command reads.
pub(crate) fn settings_read_by(command: &str) -> BTreeSet<String> {
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let root = Path::new(&root);
    let (_, file, entry) = ENTRIES.iter().find(|(name, ..)| *name == command).unwrap();
    let read = |file: &str| fs::read_to_string(root.join("src").join(file)).unwrap();
    let own = format!("cli/{file}");
    let source = read(&own);
    let shared = SHARED_FILES
        .iter()
        .filter(|(name, _)| source.contains(name));
    let files = [own.as_str()]
        .into_iter()
        .chain(shared.map(|(_, file)| *file));
    let mut bodies: BTreeMap<String, Body> = BTreeMap::new();
    for file in files {
        let source = read(file);
        let mut functions = Functions::default();
        functions.visit_file(&syn::parse_file(&source).unwrap());
        for (name, body) in functions.0 {
            let merged = bodies.entry(name).or_default();
            merged.calls.extend(body.calls);
            merged.members.extend(body.members);
        }
    }
    let members = reachable_members(entry, &bodies);
    assert!(!members.is_empty(), "{command} reads no setting");
    let settings = members.iter().flat_map(|member| settings_of(member));
    settings.collect()
}

fn reachable_members(entry: &str, bodies: &BTreeMap<String, Body>) -> BTreeSet<String> {
    let mut waiting = vec![entry.to_owned()];
    let (mut seen, mut members) = (BTreeSet::new(), BTreeSet::new());
    while let Some(name) = waiting.pop() {
        if let Some(body) = bodies.get(&name).filter(|_| seen.insert(name.clone())) {
            waiting.extend(body.calls.iter().cloned());
            members.extend(body.members.iter().cloned());
        }
    }
    members
}

fn settings_of(member: &str) -> Vec<String> {
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == member);
    match other {
        Some((_, settings)) => settings.iter().map(|&name| name.to_owned()).collect(),
        None => vec![member.to_uppercase()],
    }
}

#[derive(Default)]
struct Functions(Vec<(String, Body)>);

impl Visit<'_> for Functions {
    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        self.add(&function.sig.ident, &function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        self.add(&function.sig.ident, &function.block);
    }
}

impl Functions {
    fn add(&mut self, name: &syn::Ident, block: &syn::Block) {
        let mut body = Body::default();
        body.visit_block(block);
        self.0.push((name.to_string(), body));
    }
}

fn is_config(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Path(path) => path.path.is_ident("config") || path.path.is_ident("quiet"),
        // `config.auth.issuers`
        syn::Expr::Field(field) => {
            matches!(&field.member, syn::Member::Named(name) if name == "auth")
                && is_config(&field.base)
        }
        _ => false,
    }
}

impl Visit<'_> for Body {
    fn visit_expr_field(&mut self, field: &syn::ExprField) {
        if let syn::Member::Named(name) = &field.member
            && is_config(&field.base)
        {
            self.members.insert(name.to_string());
        }
        visit::visit_expr_field(self, field);
    }

    fn visit_expr_method_call(&mut self, call: &syn::ExprMethodCall) {
        let name = call.method.to_string();
        if is_config(&call.receiver) && !NO_SETTINGS.contains(&name.as_str()) {
            self.members.insert(name.clone());
        }
        self.calls.insert(name);
        visit::visit_expr_method_call(self, call);
    }

    /// Names in expressions may be calls, or functions that are handed over.
    fn visit_expr_path(&mut self, path: &syn::ExprPath) {
        if let Some(last) = path.path.segments.last() {
            self.calls.insert(last.ident.to_string());
        }
    }

    /// The arguments of macros are read as text: `config.database_url()`.
    fn visit_macro(&mut self, call: &syn::Macro) {
        let text = call.tokens.to_string().replace(' ', "");
        for (index, _) in text.match_indices("config.") {
            let rest = text.get(index + "config.".len()..).unwrap_or_default();
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            self.members.insert(rest[..end].to_owned());
        }
    }
}
