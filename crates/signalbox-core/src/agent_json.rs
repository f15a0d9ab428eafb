//! An agent's status as JSON, written by hand: every report writes one, and the general way takes several times as
//! long. What is written is what `Serialize` writes, which a test compares.

use signalbox_wire::{json, quote};

use crate::agent::{AgentStatus, Report};
use crate::report::Fingerprint;

impl AgentStatus {
    /// The status as JSON, just as it is serialized, at a part of the cost: every report writes one.
    ///
    /// # Errors
    /// As of `serde_json`, for no status that there is.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let report_bytes = self.report.as_ref().map_or(0, Report::size_bytes);
        let mut text = String::with_capacity(256 + self.agent.as_str().len() + report_bytes);
        text.push_str("{\"agent\":");
        quote(&mut text, self.agent.as_str());
        text.push_str(",\"generation\":");
        text.push_str(&self.generation.to_string());
        text.push_str(",\"report\":");
        match &self.report {
            Some(report) => report.write(&mut text),
            None => text.push_str("null"),
        }
        text.push_str(",\"earlier_until\":");
        match self.earlier_until {
            Some(until) => until.quote(&mut text),
            None => text.push_str("null"),
        }
        if !self.recent.is_empty() {
            text.push_str(",\"recent\":");
            write_fingerprints(&mut text, &self.recent);
        }
        text.push_str(",\"last_seen\":");
        self.last_seen.quote(&mut text);
        text.push_str(",\"last_used\":");
        self.last_used.quote(&mut text);
        text.push_str(if self.draining { ",\"draining\":true" } else { ",\"draining\":false" });
        text.push_str(",\"held\":");
        match self.held.as_slice() {
            [] => text.push_str("[]"),
            held => json::write(&mut text, held)?,
        }
        if self.names_tasks {
            text.push_str(",\"names_tasks\":true");
        }
        if !self.stopping.is_empty() {
            text.push_str(",\"stopping\":");
            json::write(&mut text, &self.stopping)?;
        }
        if let Some(connection) = &self.connection {
            text.push_str(",\"connection\":");
            json::write(&mut text, connection)?;
        }
        if let Some(at) = self.disconnected_at {
            text.push_str(",\"disconnected_at\":");
            at.quote(&mut text);
        }
        if let Some(failure) = &self.delivery_failure {
            text.push_str(",\"delivery_failure\":");
            json::write(&mut text, failure)?;
        }
        text.push('}');
        Ok(text)
    }
}

fn write_fingerprints(into: &mut String, all: &[Fingerprint]) {
    into.push('[');
    for (number, fingerprint) in all.iter().enumerate() {
        into.push_str(if number == 0 { "{\"timestamp\":" } else { ",{\"timestamp\":" });
        fingerprint.timestamp.quote(into);
        into.push_str(",\"hash\":");
        into.push_str(itoa::Buffer::new().format(fingerprint.hash));
        into.push('}');
    }
    into.push(']');
}

impl Report {
    /// Appends it as JSON, just as it is serialized.
    pub(crate) fn write(&self, into: &mut String) {
        into.push_str("{\"state\":");
        quote(into, &self.state);
        into.push_str(",\"details\":");
        into.push_str(self.details_text().unwrap_or("null"));
        into.push_str(",\"timestamp\":");
        self.timestamp.quote(into);
        into.push_str(if self.about_task { ",\"about_task\":true" } else { ",\"about_task\":false" });
        if let Some(moment) = self.counts_as {
            into.push_str(",\"counts_as\":");
            moment.quote(into);
        }
        if let Some(after) = self.answered_after {
            into.push_str(",\"answered_after\":");
            after.quote(into);
        }
        if let Some(awaited) = &self.awaits_delivery {
            into.push_str(",\"awaits_delivery\":{\"attempt\":{\"session\":");
            quote(into, awaited.attempt.session.as_str());
            into.push_str(",\"task\":");
            quote(into, awaited.attempt.task.as_str());
            into.push_str(&format!(",\"attempt\":{}}},\"received_at\":", awaited.attempt.attempt));
            awaited.received_at.quote(into);
            into.push('}');
        }
        into.push('}');
    }

    /// About how many bytes it takes as JSON.
    pub(crate) fn size_bytes(&self) -> usize {
        128 + self.state.len() + self.details_text().map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signalbox_wire::id::{AgentId, ConnectionId, KeyId, MessageId, NodeId, SessionId, TaskId};
    use signalbox_wire::raw::RawObject;
    use signalbox_wire::time::Timestamp;

    use super::*;
    use crate::agent::{Connection, Held};
    use crate::delivery::{DeliveryFailure, MessageKind, TaskAttempt};
    use crate::report::AwaitedDelivery;

    fn moment() -> impl Strategy<Value = Timestamp> {
        (-1_000_i64..4_000_000_000_000_000).prop_map(Timestamp::from_micros)
    }

    fn report() -> impl Strategy<Value = Report> {
        let details = prop_oneof![Just("{}"), Just(r#"{ "a" : 1.0 }"#), Just(r#"{"\u00e9":["\\"]}"#)];
        let details = prop::option::of(details.prop_map(|text| RawObject::parse(text.to_owned()).unwrap()));
        let awaited =
            moment().prop_map(|received_at| Box::new(AwaitedDelivery { attempt: attempt(3), received_at }));
        let awaited = prop::option::of(awaited);
        let ordered = (prop::option::of(moment()), prop::option::of(moment()));
        ("[a-z\"\\\\é]{1,8}", details, moment(), any::<bool>(), ordered, awaited).prop_map(
            |(state, details, timestamp, about_task, (counts_as, answered_after), awaits_delivery)| Report {
                state,
                details,
                timestamp,
                about_task,
                counts_as,
                answered_after,
                awaits_delivery,
            },
        )
    }

    fn attempt(attempt: u32) -> TaskAttempt {
        let session = SessionId::parse("ses_1").unwrap();
        TaskAttempt { session, task: TaskId::parse("tsk_1").unwrap(), attempt }
    }

    fn connection() -> impl Strategy<Value = Connection> {
        (moment(), any::<bool>()).prop_map(|(since, has_key)| Connection {
            node: NodeId::parse("nod_\"1").unwrap(),
            id: ConnectionId::parse("con_1").unwrap(),
            since,
            key: has_key.then(|| KeyId::parse("key_1").unwrap()),
            is_resumed: has_key,
        })
    }

    fn failure() -> impl Strategy<Value = Box<DeliveryFailure>> {
        (moment(), prop::option::of(400..600_u16), "[a-z\"]{1,4}").prop_map(|(at, status, error)| {
            let message = MessageId::parse("msg_\"1").unwrap();
            Box::new(DeliveryFailure { at, message, kind: MessageKind::Task, tries: 2, status, error })
        })
    }

    fn held() -> impl Strategy<Value = Held> {
        let taken_at = prop::option::of(moment());
        ("[a-z\"]{1,4}", 1..4_u32, moment(), taken_at, any::<[bool; 2]>()).prop_map(
            |(step, number, dispatched_at, taken_at, [is_active, comes_again])| Held {
                taken_at,
                is_active,
                comes_again,
                ..Held::new(attempt(number), step, dispatched_at)
            },
        )
    }

    proptest! {
        #[test]
        fn a_status_is_written_as_it_is_serialized(
            agent in "[ -~é]{1,12}",
            generation in any::<u64>(),
            reports in prop::collection::vec(report(), 0..3),
            earlier_until in prop::option::of(moment()),
            last_used in moment(),
            draining in any::<bool>(),
            held in prop::collection::vec(held(), 0..3),
            stopping in prop::collection::vec((1..9_u32).prop_map(attempt), 0..2),
            names_tasks in any::<bool>(),
            connection in prop::option::of(connection()),
            disconnected_at in prop::option::of(moment()),
            delivery_failure in prop::option::of(failure()),
        ) {
            let mut status = AgentStatus::fresh(AgentId::parse(&agent).unwrap(), generation, last_used);
            for report in reports {
                // Those that are dated ahead leave fingerprints.
                status.apply_report(report, Timestamp::default());
            }
            let status = AgentStatus {
                earlier_until,
                last_used,
                draining,
                held,
                stopping,
                names_tasks,
                connection,
                disconnected_at,
                delivery_failure,
                ..status
            };
            prop_assert_eq!(status.to_json().unwrap(), serde_json::to_string(&status).unwrap());
        }
    }
}
