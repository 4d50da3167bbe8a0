//! Reports about deliveries: `ReportDeliveries`.

use chrono::{DateTime, Utc};

use crate::{
    api::{
        auth::Caller,
        convert::Violations,
        proto::{self, DeliveryReportResult},
    },
    app::{App, ReportMode},
    domain::{
        delivery_report::{DeliveryReport, DeliveryStatus, ReportResult},
        email_address::EmailAddress,
        enhanced_status::EnhancedStatus,
        ids::ContactId,
    },
    error::{Result, Violation},
};

const MAX_REPORTS: usize = 1_000;

pub(super) async fn report(
    app: &App,
    caller: &Caller,
    request: proto::ReportDeliveriesRequest,
) -> Result<proto::ReportDeliveriesResponse> {
    for report in &request.reports {
        caller.check_tenant(&report.customer_number)?;
    }
    let mut violations = Violations::default();
    if request.reports.is_empty() {
        violations.add("reports", Violation::Required);
    }
    if request.reports.len() > MAX_REPORTS {
        let (max, of) = (MAX_REPORTS, "entries");
        violations.add("reports", Violation::TooMany { max, of });
    }
    let now = app.now();
    let reports = request.reports.iter().take(MAX_REPORTS).enumerate();
    let reports = reports
        .map(|(index, report)| decode(&format!("reports[{index}]"), report, now, &mut violations));
    let reports = reports.collect::<Vec<_>>().into_iter().collect();
    let reports = violations.finish(reports)?;
    let mode = ReportMode {
        accepts_burst: request.accept_burst,
        validate_only: request.validate_only,
    };
    let results = app.report_deliveries(caller.actor(), reports, mode).await?;
    let results = results.into_iter().map(|result| encode(result).into());
    Ok(proto::ReportDeliveriesResponse {
        results: results.collect(),
    })
}

fn decode(
    path: &str,
    report: &proto::DeliveryReport,
    now: DateTime<Utc>,
    violations: &mut Violations,
) -> Option<DeliveryReport> {
    let field = |name: &str| format!("{path}.{name}");
    let number = violations.customer_number(&field("customer_number"), &report.customer_number);
    if !report.contact_id.is_empty() {
        violations.check(field("contact_id"), ContactId::parse(&report.contact_id));
    }
    let email = violations.check(field("email"), EmailAddress::parse(&report.email));
    let status = match report.status() {
        proto::DeliveryStatus::Delivered => Ok(DeliveryStatus::Delivered),
        proto::DeliveryStatus::FailedPermanently => Ok(DeliveryStatus::FailedPermanently),
        proto::DeliveryStatus::FailedTemporarily => Ok(DeliveryStatus::FailedTemporarily),
        proto::DeliveryStatus::Complaint => Ok(DeliveryStatus::Complaint),
        proto::DeliveryStatus::Unspecified => Err(Violation::UnknownDeliveryStatus),
    };
    let status = violations.check(field("status"), status);
    let code = &report.enhanced_status_code;
    let parsed = EnhancedStatus::parse(code);
    if parsed.is_none() && !code.is_empty() {
        let violation = Violation::NotAnEnhancedStatusCode;
        violations.add(field("enhanced_status_code"), violation);
    }
    let time = report.report_time;
    let time = time.map_or(Some(now), |time| {
        violations.time(&field("report_time"), time)
    });
    Some(DeliveryReport {
        customer_number: number?,
        email: email?,
        status: status?,
        enhanced_status: parsed,
        time: time?,
    })
}

const fn encode(result: ReportResult) -> DeliveryReportResult {
    match result {
        ReportResult::Marked => DeliveryReportResult::Marked,
        ReportResult::Cleared => DeliveryReportResult::Cleared,
        ReportResult::Recorded => DeliveryReportResult::Recorded,
        ReportResult::Unchanged => DeliveryReportResult::Unchanged,
        ReportResult::IgnoredOutdated => DeliveryReportResult::IgnoredOutdated,
        ReportResult::IgnoredNotCurrent => DeliveryReportResult::IgnoredNotCurrent,
        ReportResult::IgnoredNotMailbox => DeliveryReportResult::IgnoredNotMailbox,
        ReportResult::IgnoredTemporary => DeliveryReportResult::IgnoredTemporary,
        ReportResult::Held => DeliveryReportResult::Held,
    }
}
