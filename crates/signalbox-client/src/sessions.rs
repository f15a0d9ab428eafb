//! Calls about sessions: look, steer, and read or follow their history.

use serde::Serialize;
use serde_json::{Value, json};
use signalbox_wire::opscore::{
    ApprovalView, ApproveBody, CancelBody, EventView, RefuseBody, SessionView, SignalBody, TriggerAnswer,
};
use signalbox_wire::paging::Page;

use crate::client::{Client, ListQuery};
use crate::error::Error;
use crate::follow::EventStream;

impl Client {
    /// A session with its tasks.
    ///
    /// # Errors
    /// [`Error`]; an unknown one is a problem of status 404.
    pub async fn session(&self, session_id: &str) -> Result<SessionView, Error> {
        self.get(&["v1", "opscore", "sessions", session_id]).fetch().await
    }

    /// A session with its tasks, and with the values themselves where it would else show references to them.
    ///
    /// # Errors
    /// [`Error`]; one that is larger in all than the server allows is a problem of status 409.
    pub async fn whole_session(&self, session_id: &str) -> Result<SessionView, Error> {
        self.get(&["v1", "opscore", "sessions", session_id]).query("whole", "true").fetch().await
    }

    /// The payload that a reference in a session names; parts of it may be references themselves.
    ///
    /// # Errors
    /// [`Error`]; one that no session refers to is a problem of status 404.
    pub async fn payload(&self, sha256: &str) -> Result<Value, Error> {
        self.get(&["v1", "opscore", "payloads", sha256]).fetch().await
    }

    /// A page of the sessions.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn sessions(&self, query: &ListQuery) -> Result<Page<SessionView>, Error> {
        self.get(&["v1", "opscore", "sessions"]).list(query).page().await
    }

    /// Ends a session before its time.
    ///
    /// # Errors
    /// [`Error`]; one that is over already is a problem of status 409.
    pub async fn cancel_session(&self, session_id: &str, reason: Option<&str>) -> Result<(), Error> {
        let body = CancelBody { reason: reason.map(str::to_owned) };
        self.control(session_id, "cancel", &body).await
    }

    /// Lets no further task of a session start.
    ///
    /// # Errors
    /// [`Error`]; one that is over is a problem of status 409.
    pub async fn pause_session(&self, session_id: &str) -> Result<(), Error> {
        self.control(session_id, "pause", &json!({})).await
    }

    /// Lets a paused session go on.
    ///
    /// # Errors
    /// [`Error`]; one that is not paused is a problem of status 409.
    pub async fn resume_session(&self, session_id: &str) -> Result<(), Error> {
        self.control(session_id, "resume", &json!({})).await
    }

    /// Gives a failed session another chance from the task that failed.
    ///
    /// # Errors
    /// [`Error`]; one that has not failed is a problem of status 409.
    pub async fn retry_session(&self, session_id: &str) -> Result<(), Error> {
        self.control(session_id, "retry", &json!({})).await
    }

    /// Runs a session again as a new one, on the same revision with the same input and agent.
    ///
    /// # Errors
    /// [`Error`]; where its agent or its revision is gone, a problem of status 404.
    pub async fn rerun_session(&self, session_id: &str) -> Result<TriggerAnswer, Error> {
        self.post(&["v1", "opscore", "sessions", session_id, "rerun"]).json(&json!({})).fetch().await
    }

    /// Tells a session of something that one of its tasks waits for, or will.
    ///
    /// # Errors
    /// [`Error`]; where no task waits for it, or will, a problem of status 409.
    pub async fn signal_session(&self, session_id: &str, signal: &str, payload: &Value) -> Result<(), Error> {
        let body = SignalBody { signal: signal.to_owned(), payload: Some(payload.clone()) };
        self.control(session_id, "signal", &body).await
    }

    /// Agrees to what a task asks approval for, as it was seen: [`SessionView::asked`] shows it with its digest.
    ///
    /// # Errors
    /// [`Error`]; where it asks for none, or for another one than was seen, a problem of status 409.
    pub async fn approve_task(
        &self,
        session_id: &str,
        task_id: &str,
        seen: &ApprovalView,
        comment: Option<&str>,
    ) -> Result<(), Error> {
        let body = ApproveBody { digest: seen.digest.clone(), comment: comment.map(str::to_owned) };
        self.decide(session_id, task_id, "approve", &body).await
    }

    /// Refuses what a task asks approval for.
    ///
    /// # Errors
    /// [`Error`]; where it asks for none, a problem of status 409.
    pub async fn refuse_task(
        &self,
        session_id: &str,
        task_id: &str,
        comment: Option<&str>,
    ) -> Result<(), Error> {
        let body = RefuseBody { comment: comment.map(str::to_owned), digest: None };
        self.decide(session_id, task_id, "refuse", &body).await
    }

    /// A page of a session's history, oldest first.
    ///
    /// # Errors
    /// [`Error`]; an unknown session is a problem of status 404.
    pub async fn session_events(
        &self,
        session_id: &str,
        query: &ListQuery,
    ) -> Result<Page<EventView>, Error> {
        let call = self.get(&["v1", "opscore", "sessions", session_id, "events"]).list(query);
        call.header("accept", "application/json").page().await
    }

    /// Follows a session's history live, from the event after `after` (0: from the beginning). Nothing is
    /// sent before the first [`EventStream::next`].
    #[must_use]
    pub fn follow_session(&self, session_id: &str, after: u64) -> EventStream {
        EventStream::new(self.clone(), session_id, after)
    }

    async fn decide(
        &self,
        session_id: &str,
        task_id: &str,
        verb: &str,
        body: &impl Serialize,
    ) -> Result<(), Error> {
        let call = self.post(&["v1", "opscore", "sessions", session_id, "tasks", task_id, verb]);
        call.json(body).send().await.map(drop)
    }

    async fn control(&self, session_id: &str, verb: &str, body: &impl Serialize) -> Result<(), Error> {
        self.post(&["v1", "opscore", "sessions", session_id, verb]).json(body).send().await.map(drop)
    }
}
