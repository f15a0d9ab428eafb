//! A POST to an agent's contact endpoint. Its answer to a task may be its report.

use http_body_util::Full;
use signalbox_core::engine::DeliveredReport;
use signalbox_wire::opscore::{ACCEPTS_REPORT, TaskAnswer};

use super::parcel::{Carried, Parcel, Way};

/// The most of an agent's answer that is read for its report of the task: as much as a report may have that is sent.
const REPORT_BYTES_MAX: usize = 1 << 20;

pub(super) async fn carry(way: &Way, url: &str, parcel: Parcel<'_>) -> Carried {
    let request = parcel.request(url);
    if parcel.message.task.is_none() {
        return way.post(request, parcel.body).await;
    }
    let Ok(request) = request.header(ACCEPTS_REPORT, "true").body(Full::new(parcel.body)) else {
        return Carried::unwritable();
    };
    let parcel_id = &parcel.message.id;
    match way.egress.answer_of(request, way.timeout, REPORT_BYTES_MAX).await {
        Ok((status, headers, body)) => {
            if body.is_none() && status.is_success() {
                tracing::warn!(
                    message_id = %parcel_id,
                    bytes_max = REPORT_BYTES_MAX,
                    "an agent's answer to its task is too large to be its report: it has to send the report"
                );
            }
            let report = body.filter(|_| status.is_success()).and_then(|body| TaskAnswer::read(&body));
            let report =
                report.map(|answer| DeliveredReport { state: answer.state, details: answer.details });
            Carried { report, ..Carried::answered(status, &headers) }
        }
        Err(error) => Carried::unanswered(&error),
    }
}
