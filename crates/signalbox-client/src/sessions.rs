//! Calls about sessions: look, steer, and read or follow their history.

use serde_json::{Value, json};

use crate::client::{Client, ListQuery};
use crate::error::Error;
use crate::follow::EventStream;
use crate::model::{Event, Page, Session};

impl Client {
    /// A session with its tasks.
    ///
    /// # Errors
    /// [`Error`]; an unknown one is a problem of status 404.
    pub async fn session(&self, session_id: &str) -> Result<Session, Error> {
        self.get(&["v1", "opscore", "sessions", session_id]).fetch().await
    }

    /// A page of the sessions.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn sessions(&self, query: &ListQuery) -> Result<Page<Session>, Error> {
        self.get(&["v1", "opscore", "sessions"]).list(query).page().await
    }

    /// Ends a session before its time.
    ///
    /// # Errors
    /// [`Error`]; one that is over already is a problem of status 409.
    pub async fn cancel_session(&self, session_id: &str, reason: Option<&str>) -> Result<(), Error> {
        let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
        self.steer(session_id, "cancel", &body).await
    }

    /// Lets no further task of a session start.
    ///
    /// # Errors
    /// [`Error`]; one that is over is a problem of status 409.
    pub async fn pause_session(&self, session_id: &str) -> Result<(), Error> {
        self.steer(session_id, "pause", &json!({})).await
    }

    /// Lets a paused session go on.
    ///
    /// # Errors
    /// [`Error`]; one that is not paused is a problem of status 409.
    pub async fn resume_session(&self, session_id: &str) -> Result<(), Error> {
        self.steer(session_id, "resume", &json!({})).await
    }

    /// Gives a failed session another chance from the task that failed.
    ///
    /// # Errors
    /// [`Error`]; one that has not failed is a problem of status 409.
    pub async fn retry_session(&self, session_id: &str) -> Result<(), Error> {
        self.steer(session_id, "retry", &json!({})).await
    }

    /// A page of a session's history, oldest first.
    ///
    /// # Errors
    /// [`Error`]; an unknown session is a problem of status 404.
    pub async fn session_events(&self, session_id: &str, query: &ListQuery) -> Result<Page<Event>, Error> {
        let call = self.get(&["v1", "opscore", "sessions", session_id, "events"]).list(query);
        call.header("accept", "application/json").page().await
    }

    /// Follows a session's history live, from the event after `after` (0: from the beginning). Nothing is
    /// sent before the first [`EventStream::next`].
    #[must_use]
    pub fn follow_session(&self, session_id: &str, after: u64) -> EventStream {
        EventStream::new(self.clone(), session_id, after)
    }

    async fn steer(&self, session_id: &str, verb: &str, body: &Value) -> Result<(), Error> {
        self.post(&["v1", "opscore", "sessions", session_id, verb]).json(body).send().await.map(drop)
    }
}
