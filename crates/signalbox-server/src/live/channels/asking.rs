//! What this node has asked and waits to hear: replies to requests of its agents, and who is subscribed elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_wire::id::{NodeId, TenantId};
use tokio::sync::mpsc;

use super::relay::Heard;
use crate::clock;

/// Answers that wait for whoever asked, at most; the first reply is all that a request needs.
const ANSWERS_MAX: usize = 64;

/// Questions that are open; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Asking(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: NodeId,
    open: Mutex<HashMap<u64, (TenantId, mpsc::Sender<Heard>)>>,
}

/// An open question; it is closed when this is dropped.
#[derive(Debug)]
pub(super) struct Question {
    asking: Asking,
    pub(super) number: u64,
    answers: mpsc::Receiver<Heard>,
}

impl Asking {
    pub(super) fn new(node: NodeId) -> Self {
        Self(Arc::new(Inner { node, open: Mutex::default() }))
    }

    /// Opens a question.
    pub(super) fn ask(&self, tenant: &TenantId) -> Question {
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        // Nobody can guess the number of another's question.
        let number = clock::seed();
        self.0.open.lock().insert(number, (tenant.clone(), sender));
        Question { asking: self.clone(), number, answers }
    }

    /// Hands over an answer; says whether anybody waits for it.
    pub(super) fn answer(&self, tenant: &TenantId, number: u64, heard: Heard) -> bool {
        let open = self.0.open.lock();
        match open.get(&number) {
            Some((of, sender)) if of == tenant => sender.try_send(heard).is_ok(),
            _ => false,
        }
    }

    /// Where answers to a question are sent.
    pub(super) fn reply_to(&self, number: u64) -> String {
        format!("{}.{number:016x}", self.0.node)
    }

    /// Whose question a `reply_to` names.
    pub(super) fn parse(reply_to: &str) -> Option<(NodeId, u64)> {
        let (node, number) = reply_to.rsplit_once('.')?;
        let is_number = number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(number, 16).ok().filter(|_| is_number)?;
        Some((NodeId::parse(node).ok()?, number))
    }

    /// Whether a question is asked here.
    pub(super) fn is_here(&self, node: &NodeId) -> bool {
        self.0.node == *node
    }
}

impl Question {
    /// The next answer.
    pub(super) async fn heard(&mut self) -> Heard {
        match self.answers.recv().await {
            Some(heard) => heard,
            // This end holds the other one open until it is dropped.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.asking.0.open.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_reaches_an_open_question_of_its_tenant_and_no_other() {
        let node = NodeId::parse("nod_a.b").expect("valid");
        let asking = Asking::new(node.clone());
        let (tenant, other) = (TenantId::default_tenant(), TenantId::parse("other").expect("valid"));
        let mut question = asking.ask(&tenant);
        let number = question.number;
        assert_eq!(Asking::parse(&asking.reply_to(number)), Some((node, number)));
        let given = || Heard::Given { count: 1 };
        assert!(!asking.answer(&other, number, given()), "another tenant's");
        assert!(!asking.answer(&tenant, number.wrapping_add(1), given()), "another question");
        assert!(asking.answer(&tenant, number, given()));
        assert!(matches!(question.heard().await, Heard::Given { count: 1 }));
        drop(question);
        assert!(!asking.answer(&tenant, number, given()), "closed");
        for junk in ["", "nod", "nod.xyz", "nod_a.-000000000000001", ".0000000000000001"] {
            assert_eq!(Asking::parse(junk), None, "{junk}");
        }
    }
}
