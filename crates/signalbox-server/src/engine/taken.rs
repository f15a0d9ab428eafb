//! Attempts that their agents have taken, as far as that is known in memory alone.
//!
//! Losing this loses no work: the lease on an attempt runs out, and the agent gets the same message again. So it is written
//! only when the attempt goes on for a while, or a report waits for it; what ends the attempt before takes it away.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;
use signalbox_core::Decision;
use signalbox_core::decision::{Row, Write};
use signalbox_core::due::DueJob;
use signalbox_core::engine::SettleDispatch;
use signalbox_store::Claimed;
use signalbox_wire::id::TenantId;
use signalbox_wire::time::Timestamp;
use tokio::sync::Notify;

/// Attempts that are kept, at most; over it they are written at once.
const KEPT_MAX: usize = 100_000;

/// One of them.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The work that delivered it, still under its lease.
    pub(crate) claimed: Claimed,
    /// What is to be written.
    pub(crate) settled: SettleDispatch,
}

/// Names one: its tenant, and the id of its due work.
pub(crate) type TakenId = (TenantId, String);

/// All of them; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct TakenAttempts(Arc<Inner>);

#[derive(Default)]
struct Inner {
    count: AtomicUsize,
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Default)]
struct State {
    kept: HashMap<TakenId, Taken, DefaultHashBuilder>,
    /// In the order in which they are written, those that are gone included.
    queue: VecDeque<(Timestamp, TakenId)>,
}

/// What a commit says of attempts, looked up before it and followed after.
pub(super) struct Said {
    over: Vec<String>,
    awaited: Vec<String>,
}

impl TakenAttempts {
    /// Keeps one until `until`; `None` where there are too many.
    pub(crate) fn keep(&self, taken: Taken, until: Timestamp) -> Option<TakenId> {
        let mut state = self.0.state.lock();
        if state.kept.len() >= KEPT_MAX {
            return None;
        }
        if state.queue.len() >= KEPT_MAX * 2 {
            let State { kept, queue } = &mut *state;
            queue.retain(|(_, id)| kept.contains_key(id));
        }
        let id = (taken.claimed.tenant.clone(), taken.claimed.work.id());
        state.kept.insert(id.clone(), taken);
        state.queue.push_back((until, id.clone()));
        self.0.count.store(state.kept.len(), Ordering::SeqCst);
        Some(id)
    }

    /// Takes one out.
    pub(crate) fn take(&self, id: &TakenId) -> Option<Taken> {
        let mut state = self.0.state.lock();
        let taken = state.kept.remove(id);
        self.0.count.store(state.kept.len(), Ordering::SeqCst);
        taken
    }

    /// Takes out what has been kept for long enough.
    pub(crate) fn take_due(&self, now: Timestamp, most: usize) -> Vec<Taken> {
        self.take_while(most, |until| until <= now)
    }

    /// Takes out what there is.
    pub(crate) fn take_any(&self, most: usize) -> Vec<Taken> {
        self.take_while(most, |_| true)
    }

    fn take_while(&self, most: usize, is_due: impl Fn(Timestamp) -> bool) -> Vec<Taken> {
        let mut state = self.0.state.lock();
        let mut due = Vec::new();
        while due.len() < most
            && let Some((_, id)) = state.queue.pop_front_if(|(until, _)| is_due(*until))
        {
            due.extend(state.kept.remove(&id));
        }
        self.0.count.store(state.kept.len(), Ordering::SeqCst);
        due
    }

    /// Waits until something is to be written at once.
    pub(crate) async fn rung(&self) {
        self.0.bell.notified().await;
    }

    /// What a decision says of attempts.
    pub(super) fn said(&self, decision: &Decision) -> Said {
        let awaited = decision.writes.iter().filter_map(|write| match write {
            Write::Put { row: Row::Status(status), .. } => {
                let awaited = &status.report.as_ref()?.awaits_delivery.as_ref()?.attempt;
                let (session, task) = (awaited.session.clone(), awaited.task.clone());
                Some(DueJob::Dispatch { session, task, attempt: awaited.attempt }.id())
            }
            _ => None,
        });
        let awaited = awaited.collect();
        if self.0.count.load(Ordering::SeqCst) == 0 {
            return Said { over: Vec::new(), awaited };
        }
        let moved = decision.due.iter().map(|due| &due.work);
        let moved = moved.filter(|work| matches!(work, DueJob::Timeout { .. } | DueJob::Dispatch { .. }));
        Said { over: decision.done.iter().cloned().chain(moved.map(DueJob::id)).collect(), awaited }
    }

    /// The decision is committed.
    pub(super) fn follow(&self, tenant: &TenantId, said: Said) {
        if said.over.is_empty() && said.awaited.is_empty() {
            return;
        }
        let mut state = self.0.state.lock();
        for id in said.over {
            state.kept.remove(&(tenant.clone(), id));
        }
        let mut rings = false;
        for id in said.awaited {
            let id = (tenant.clone(), id);
            if state.kept.contains_key(&id) {
                state.queue.push_front((Timestamp::default(), id));
                rings = true;
            }
        }
        self.0.count.store(state.kept.len(), Ordering::SeqCst);
        if rings {
            self.0.bell.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signalbox_core::agent::{AgentStatus, Report};
    use signalbox_core::delivery::{Outcome, TaskAttempt};
    use signalbox_core::due::Lane;
    use signalbox_core::lease::Lease;
    use signalbox_core::report::AwaitedDelivery;
    use signalbox_wire::id::{AgentId, NodeId, SessionId, TaskId};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(100);

    fn attempt(number: u32) -> TaskAttempt {
        TaskAttempt {
            session: SessionId::parse("s").expect("valid"),
            task: TaskId::parse("t").expect("valid"),
            attempt: number,
        }
    }

    fn agent() -> AgentId {
        AgentId::parse("a").expect("valid")
    }

    fn taken(number: u32) -> Taken {
        let TaskAttempt { session, task, attempt: n } = attempt(number);
        let node = NodeId::parse("n").expect("valid");
        let claimed = Claimed {
            tenant: TenantId::default_tenant(),
            work: DueJob::Dispatch { session, task, attempt: n },
            due_at: NOW,
            lane: Lane::default(),
            lease: Lease::new(node, NOW, Duration::from_secs(60)),
        };
        let outcome = Outcome::Delivered { status: 202 };
        Taken { claimed, settled: SettleDispatch::at(NOW, agent(), attempt(number), 1, outcome) }
    }

    fn numbers(taken: &[Taken]) -> Vec<u32> {
        taken.iter().map(|taken| taken.settled.attempt.attempt).collect()
    }

    #[test]
    fn what_is_over_need_not_be_written() {
        let all = TakenAttempts::default();
        let until = NOW + Duration::from_secs(5);
        for number in 1..=3 {
            all.keep(taken(number), until).expect("room");
        }
        let mut decision = Decision::default();
        decision.disarm("attempt:t-2".to_owned());
        let said = all.said(&decision);
        assert!(all.take_due(NOW, 9).is_empty());
        all.follow(&TenantId::default_tenant(), said);
        assert_eq!(numbers(&all.take_due(until, 9)), [1, 3]);
        assert!(all.take_any(9).is_empty());
    }

    #[test]
    fn what_a_report_waits_for_is_written_at_once() {
        let all = TakenAttempts::default();
        all.keep(taken(1), NOW + Duration::from_secs(5)).expect("room");
        let mut status = AgentStatus::fresh(agent(), 1, NOW);
        status.report = Some(Report {
            state: "completed".into(),
            details: None,
            timestamp: NOW,
            about_task: false,
            counts_as: None,
            answered_after: None,
            awaits_delivery: Some(Box::new(AwaitedDelivery { attempt: attempt(1), received_at: NOW })),
        });
        let mut decision = Decision::default();
        decision.create(Row::Status(Arc::new(status)), 1);
        let said = all.said(&decision);
        all.follow(&TenantId::default_tenant(), said);
        assert_eq!(numbers(&all.take_due(NOW, 9)), [1]);
    }
}
