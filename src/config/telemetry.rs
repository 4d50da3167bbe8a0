//! The environment variables of OpenTelemetry. Its SDK and exporter read them as its specification says,
//! and ignore values that they cannot use; here such a value is an error.

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use super::error::ConfigError;
use crate::error::Invalid;

const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
/// The variable of traces takes precedence over that of all signals.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const RATIO_SAMPLERS: [&str; 2] = ["traceidratio", "parentbased_traceidratio"];
const SAMPLERS: [&str; 6] = [
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "always_on",
    "always_off",
    "traceidratio",
];

type Check = fn(&str) -> Result<(), Invalid>;

/// The variables that are read, with the check of their values.
const VARIABLES: [(&str, Check); 20] = [
    (DISABLED, is_boolean),
    (EXPORTER, is_exporter),
    ("OTEL_SERVICE_NAME", is_name),
    ("OTEL_RESOURCE_ATTRIBUTES", is_attributes),
    (SAMPLER, is_sampler),
    // Checked with the sampler.
    (SAMPLER_ARG, is_name),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", is_endpoint),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", is_endpoint),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", is_protocol),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", is_protocol),
    ("OTEL_EXPORTER_OTLP_HEADERS", is_headers),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", is_headers),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", is_positive),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", is_positive),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", is_compression),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", is_compression),
    ("OTEL_BSP_SCHEDULE_DELAY", is_positive),
    ("OTEL_BSP_EXPORT_TIMEOUT", is_positive),
    ("OTEL_BSP_MAX_QUEUE_SIZE", is_positive),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", is_positive),
];
/// Variables that the exporter ignores.
const UNSUPPORTED: [&str; 6] = [
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
];

/// The collector that traces are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Its host name or address, an IPv6 address in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// True if the connection has TLS.
    pub has_tls: bool,
}

/// Returns the names of the variables of OpenTelemetry that are read.
pub fn telemetry_variables() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().map(|(name, _)| *name)
}

/// Validates the variables, which `read` returns. Returns the collector; `None` if traces are not
/// exported: no endpoint is set, or the export is disabled.
pub(super) fn collector(
    read: impl Fn(&str) -> Option<String>,
) -> Result<Option<Collector>, ConfigError> {
    // An empty variable counts as unset.
    let read = |name: &str| read(name).filter(|value| !value.is_empty());
    let is = |name, text: &str| read(name).is_some_and(|value| value.eq_ignore_ascii_case(text));
    for (name, check) in VARIABLES {
        if let Some(value) = read(name) {
            check(&value).map_err(|Invalid(why)| ConfigError::new(name, why))?;
        }
        if name == DISABLED && is(DISABLED, "true") {
            return Ok(None);
        }
    }
    if let Some(name) = UNSUPPORTED.into_iter().find(|name| read(name).is_some()) {
        let why = "is not supported: the authorities are those of the system, or of SSL_CERT_FILE";
        return Err(ConfigError::new(name, why));
    }
    if let (Some(sampler), Some(ratio)) = (read(SAMPLER), read(SAMPLER_ARG))
        && RATIO_SAMPLERS.contains(&sampler.as_str())
    {
        is_ratio(&ratio).map_err(|Invalid(why)| ConfigError::new(SAMPLER_ARG, why))?;
    }
    if is(EXPORTER, "none") {
        return Ok(None);
    }
    let endpoint = ENDPOINTS.into_iter().find_map(read);
    Ok(endpoint.and_then(|endpoint| parse_endpoint(&endpoint)))
}

fn parse_endpoint(text: &str) -> Option<Collector> {
    let url = Url::parse(text).ok()?;
    let has_tls = url.scheme() == "https";
    let is_supported = text.trim() == text && (has_tls || url.scheme() == "http");
    let host = url.host_str().filter(|_| is_supported)?.to_owned();
    Some(Collector {
        host,
        port: url.port_or_known_default()?,
        has_tls,
    })
}

fn ensure(is_valid: bool, why: &str) -> Result<(), Invalid> {
    if is_valid {
        Ok(())
    } else {
        Err(Invalid::new(why))
    }
}

fn is_name(text: &str) -> Result<(), Invalid> {
    let is_valid = !text.chars().any(char::is_control);
    ensure(is_valid, "must have no control characters")
}

fn is_boolean(text: &str) -> Result<(), Invalid> {
    let is_one = |value| text.eq_ignore_ascii_case(value);
    ensure(is_one("true") || is_one("false"), "must be true or false")
}

fn is_exporter(text: &str) -> Result<(), Invalid> {
    ensure(
        ["otlp", "none"].contains(&text),
        "must be otlp or none: there is no other exporter",
    )
}

fn is_sampler(text: &str) -> Result<(), Invalid> {
    let why = format!("must be one of {}", SAMPLERS.join(", "));
    ensure(SAMPLERS.contains(&text), &why)
}

fn is_ratio(text: &str) -> Result<(), Invalid> {
    let ratio: Option<f64> = text.parse().ok();
    let is_valid = ratio.is_some_and(|ratio| (0.0..=1.0).contains(&ratio));
    ensure(is_valid, "must be a ratio from 0 to 1, such as 0.1")
}

fn is_endpoint(text: &str) -> Result<(), Invalid> {
    ensure(
        parse_endpoint(text).is_some(),
        "must be an http or https URL, such as http://collector:4317",
    )
}

fn is_protocol(text: &str) -> Result<(), Invalid> {
    ensure(
        text.eq_ignore_ascii_case("grpc"),
        "must be grpc, usually at port 4317: OTLP over HTTP is not supported",
    )
}

fn is_compression(text: &str) -> Result<(), Invalid> {
    let is_one = |value| text.eq_ignore_ascii_case(value);
    ensure(is_one("gzip") || is_one("none"), "must be gzip or none")
}

fn is_positive(text: &str) -> Result<(), Invalid> {
    let number: Option<u32> = text.parse().ok();
    ensure(
        number.is_some_and(|number| number > 0),
        "must be a number of at least 1",
    )
}

/// Returns the entries of a list such as `a=1,b=2`; `None` for one that is no pair.
fn pairs(text: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    text.split_terminator(',').map(|entry| {
        let (key, value) = entry.split_once('=')?;
        Some((key.trim(), value.trim()))
    })
}

fn is_attributes(text: &str) -> Result<(), Invalid> {
    let is_valid = pairs(text).all(|pair| pair.is_some_and(|(key, _)| !key.is_empty()));
    ensure(
        is_valid,
        "must be a list such as deployment.environment.name=production,team=billing",
    )
}

fn is_headers(text: &str) -> Result<(), Invalid> {
    let is_header = |(key, value): (&str, &str)| {
        let decoded = percent_decode_str(value).decode_utf8().ok();
        let value = decoded.and_then(|value| HeaderValue::from_str(&value).ok());
        key.parse::<HeaderName>().is_ok() && value.is_some_and(|value| !value.is_empty())
    };
    ensure(
        pairs(text).all(|pair| pair.is_some_and(is_header)),
        "must be a list such as api-key=secret,tenant=billing, values percent-encoded",
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");

    fn read(variables: &[(&str, &str)]) -> Result<Option<Collector>, String> {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        collector(find).map_err(|error| error.to_string())
    }

    fn host_of(variables: &[(&str, &str)]) -> Option<String> {
        read(variables).unwrap().map(|collector| collector.host)
    }

    #[test]
    fn traces_are_exported_if_there_is_an_endpoint() {
        assert_eq!(host_of(&[]), None);
        assert_eq!(host_of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        assert_eq!(host_of(&[ENDPOINT]), Some("collector".to_owned()));
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://[::1]");
        assert_eq!(host_of(&[ENDPOINT, of_traces]), Some("[::1]".to_owned()));
        let collector = read(&[of_traces]).unwrap().unwrap();
        assert_eq!((collector.port, collector.has_tls), (443, true));
    }

    #[test]
    fn export_can_be_disabled() {
        assert_eq!(host_of(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert!(host_of(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]).is_some());
        assert_eq!(host_of(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), None);
        // Other variables of a disabled SDK do not matter.
        let invalid = ("OTEL_TRACES_SAMPLER", "xray");
        assert_eq!(host_of(&[invalid, ("OTEL_SDK_DISABLED", "true")]), None);
    }

    #[test]
    fn valid_values_are_accepted() {
        let values = [
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "api-key=a%20b==, x-tenant = 1,",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b, c=d"),
            ("OTEL_SERVICE_NAME", "contact-service-blue"),
        ];
        assert!(host_of(&values).is_some());
        // The argument of another sampler is not used.
        let unused = [
            ("OTEL_TRACES_SAMPLER", "always_on"),
            ("OTEL_TRACES_SAMPLER_ARG", "x"),
        ];
        assert_eq!(host_of(&unused), None);
    }

    #[rstest]
    #[case("OTEL_SDK_DISABLED", "yes", "must be true or false")]
    #[case("OTEL_TRACES_EXPORTER", "zipkin", "must be otlp or none")]
    #[case("OTEL_RESOURCE_ATTRIBUTES", "team", "must be a list such as")]
    #[case("OTEL_RESOURCE_ATTRIBUTES", "=billing", "must be a list such as")]
    #[case(
        "OTEL_TRACES_SAMPLER",
        "xray",
        "must be one of parentbased_always_on, "
    )]
    #[case("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "must be an http or")]
    #[case("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317\n", "must be an http or")]
    #[case("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "must be an http or")]
    #[case("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c:4317", "must be an http or")]
    #[case("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "must be grpc")]
    #[case("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "thrift", "must be grpc")]
    #[case("OTEL_EXPORTER_OTLP_HEADERS", "api-key", "must be a list such as")]
    #[case("OTEL_EXPORTER_OTLP_HEADERS", "a b=c", "must be a list such as")]
    #[case(
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "a=%0Ab",
        "must be a list such as"
    )]
    #[case("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "must be a number")]
    #[case("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", "must be a number")]
    #[case("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "must be gzip or none")]
    #[case("OTEL_BSP_SCHEDULE_DELAY", "-1", "must be a number")]
    #[case("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem", "is not supported")]
    fn invalid_value_names_its_variable(
        #[case] name: &str,
        #[case] value: &str,
        #[case] why: &str,
    ) {
        let error = read(&[(name, value)]).unwrap_err();
        assert!(error.starts_with(&format!("{name}: {why}")), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[rstest]
    #[case("1.1")]
    #[case("NaN")]
    #[case("half")]
    fn invalid_ratio_is_rejected(#[case] ratio: &str) {
        let error = read(&[
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", ratio),
        ]);
        assert_eq!(
            error.unwrap_err(),
            "OTEL_TRACES_SAMPLER_ARG: must be a ratio from 0 to 1, such as 0.1"
        );
    }
}
