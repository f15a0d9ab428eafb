//! Operations that stand in one line and are decided as one, each with what it alone has decided.

use signalbox_core::decision::{IdempotencyRecord, Key};
use signalbox_core::engine::attempt::{Asked, Member, Resolution};
use signalbox_core::{Decision, DecisionContext, Halt, Rejected, Snapshot};
use signalbox_wire::time::Timestamp;

use crate::calls::{Call, ToolReply};
use crate::driver::Caller;
use crate::store::Store;

/// An operation, and who asked for it.
pub(crate) struct InLine {
    asked: Asked<Call>,
    caller: Caller,
    decided: Option<Decision>,
    was_unfit: bool,
}

impl InLine {
    pub(crate) fn new(call: Call, caller: Caller) -> Self {
        Self { asked: Asked::new(call), caller, decided: None, was_unfit: false }
    }

    /// What was asked.
    pub(crate) fn call(&self) -> &Call {
        self.asked.operation()
    }

    /// Who asked.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What it has decided on what those before it have changed; nothing where it was refused or put off, or
    /// where nothing is to be changed.
    pub(crate) fn decided(&self) -> Option<&Decision> {
        self.decided.as_ref().filter(|decision| !decision.is_empty())
    }

    /// Whether it was put off for what it had decided: that was not made on what those before it left.
    pub(crate) fn was_unfit(&self) -> bool {
        self.was_unfit
    }

    /// It is decided anew, from the beginning.
    pub(crate) fn begin_again(&mut self) {
        self.decided = None;
    }

    pub(crate) fn take_resolution(&mut self) -> Option<Resolution<ToolReply>> {
        self.asked.take_resolution()
    }

    pub(crate) fn into_parts(self) -> (Call, Caller) {
        (self.asked.into_parts().0, self.caller)
    }

    /// What is told of a session is what is kept of it.
    pub(crate) fn check_kept(&self, store: &Store) {
        if let Some(Resolution::Made(ToolReply::Session(told))) = self.asked.resolution() {
            let stored = store.session(&told.session.id).map(|stored| &*stored.value);
            assert_eq!(stored, Some(told.as_ref()), "what is told differs from what is kept");
        }
    }
}

impl From<(Call, Caller)> for InLine {
    fn from((call, caller): (Call, Caller)) -> Self {
        Self::new(call, caller)
    }
}

impl Member for InLine {
    fn keys(&self) -> Vec<Key> {
        self.asked.keys()
    }

    fn decide(&mut self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<Decision, Halt> {
        self.decided = None;
        let decision = self.asked.decide(snapshot, context)?;
        self.decided = Some(decision.clone());
        Ok(decision)
    }

    fn record(&self, now: Timestamp) -> Option<IdempotencyRecord> {
        self.asked.record(now)
    }

    fn refuse(&mut self, rejected: Rejected) {
        self.asked.refuse(rejected);
    }

    fn put_off(&mut self) {
        self.was_unfit = self.decided().is_some();
        self.decided = None;
        self.asked.put_off();
    }
}
