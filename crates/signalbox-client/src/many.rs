//! Calls about several sessions at once, timelines, versions of workflows, and the log.

use signalbox_wire::agentkit::{AgentView, DeadLetterView, DiscardManyAnswer, PatchAgentBody, Success};
use signalbox_wire::opscore::{
    ApproveManyBody, Comparison, HistoryEntry, LogView, ManyAnswer, ManyBody, RefuseManyBody, SignalManyBody,
    TimelineView, WorkflowVersion, WorkflowView,
};
use signalbox_wire::paging::Page;

use crate::client::{Client, ListQuery};
use crate::error::Error;

impl Client {
    /// Ends the sessions that are named or match.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn cancel_sessions(&self, body: &ManyBody) -> Result<ManyAnswer, Error> {
        self.post(&["v1", "opscore", "sessions", "cancel"]).json(body).fetch().await
    }

    /// Pauses the sessions that are named or match.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pause_sessions(&self, body: &ManyBody) -> Result<ManyAnswer, Error> {
        self.post(&["v1", "opscore", "sessions", "pause"]).json(body).fetch().await
    }

    /// Lets the paused sessions that are named or match go on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn resume_sessions(&self, body: &ManyBody) -> Result<ManyAnswer, Error> {
        self.post(&["v1", "opscore", "sessions", "resume"]).json(body).fetch().await
    }

    /// Gives the failed sessions that are named or match another chance.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn retry_sessions(&self, body: &ManyBody) -> Result<ManyAnswer, Error> {
        self.post(&["v1", "opscore", "sessions", "retry"]).json(body).fetch().await
    }

    /// Runs the sessions that are named or match again.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn rerun_sessions(&self, body: &ManyBody) -> Result<ManyAnswer, Error> {
        self.post(&["v1", "opscore", "sessions", "rerun"]).json(body).fetch().await
    }

    /// Removes the ended sessions that are named or match.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn purge_sessions(&self, body: &ManyBody) -> Result<ManyAnswer, Error> {
        self.post(&["v1", "opscore", "sessions", "purge"]).json(body).fetch().await
    }

    /// Tells the sessions that are named or match of something.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn signal_sessions(&self, body: &SignalManyBody) -> Result<ManyAnswer, Error> {
        self.post(&["v1", "opscore", "sessions", "signal"]).json(body).fetch().await
    }

    /// Agrees to what the sessions ask approval for.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn approve_sessions(&self, body: &ApproveManyBody) -> Result<ManyAnswer, Error> {
        self.post(&["v1", "opscore", "sessions", "approve"]).json(body).fetch().await
    }

    /// Refuses what the sessions ask approval for.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn refuse_sessions(&self, body: &RefuseManyBody) -> Result<ManyAnswer, Error> {
        self.post(&["v1", "opscore", "sessions", "refuse"]).json(body).fetch().await
    }

    /// Removes an ended session.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_session(&self, session_id: &str) -> Result<(), Error> {
        self.delete(&["v1", "opscore", "sessions", session_id]).send().await.map(drop)
    }

    /// What a session's time went to.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn timeline(&self, session_id: &str) -> Result<TimelineView, Error> {
        self.get(&["v1", "opscore", "sessions", session_id, "timeline"]).fetch().await
    }

    /// A page of the kept versions of a workflow.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn workflow_versions(
        &self,
        id: &str,
        query: &ListQuery,
    ) -> Result<Page<WorkflowVersion>, Error> {
        self.get(&["v1", "opscore", "workflows", id, "versions"]).list(query).page().await
    }

    /// One version of a workflow.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn workflow_version(&self, id: &str, revision: &str) -> Result<WorkflowView, Error> {
        self.get(&["v1", "opscore", "workflows", id, "versions", revision]).fetch().await
    }

    /// What differs between two versions of a workflow.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn compare_versions(&self, id: &str, from: &str, to: &str) -> Result<Comparison, Error> {
        self.get(&["v1", "opscore", "workflows", id, "versions", from, "compare", to]).fetch().await
    }

    /// Makes an earlier version of a workflow the newest.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn roll_back_workflow(&self, id: &str, revision: &str) -> Result<WorkflowView, Error> {
        self.post(&["v1", "opscore", "workflows", id, "versions", revision, "rollback"]).fetch().await
    }

    /// A page of the log, by the filters `agent`, `session`, `level`, `since`, `until` and `text`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn logs(&self, query: &ListQuery) -> Result<Page<LogView>, Error> {
        self.get(&["v1", "opscore", "logs"]).list(query).header("accept", "application/json").page().await
    }

    /// A page of an agent's reports.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn agent_history(
        &self,
        agent_id: &str,
        query: &ListQuery,
    ) -> Result<Page<HistoryEntry>, Error> {
        self.get(&["v1", "opscore", "agent", agent_id, "history"]).list(query).page().await
    }

    /// Lets an agent get no new tasks.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn drain_agent(&self, agent_id: &str) -> Result<(), Error> {
        self.post(&["v1", "opscore", "agent", agent_id, "drain"]).send().await.map(drop)
    }

    /// Lets a drained agent get tasks again.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn undrain_agent(&self, agent_id: &str) -> Result<(), Error> {
        self.post(&["v1", "opscore", "agent", agent_id, "undrain"]).send().await.map(drop)
    }

    /// Changes an agent; what is not given stays.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn change_agent(&self, agent_id: &str, body: &PatchAgentBody) -> Result<AgentView, Error> {
        self.patch(&["v1", "agents", agent_id])
            .json(body)
            .fetch::<Success<AgentView>>()
            .await
            .map(|answer| answer.data)
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn dead_letter(&self, message_id: &str) -> Result<DeadLetterView, Error> {
        self.get(&["v1", "dead-letters", message_id])
            .fetch::<Success<DeadLetterView>>()
            .await
            .map(|answer| answer.data)
    }

    /// Drops the dead letters that the filters match.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_dead_letters(&self, query: &ListQuery) -> Result<DiscardManyAnswer, Error> {
        self.delete(&["v1", "dead-letters"])
            .list(query)
            .fetch::<Success<DiscardManyAnswer>>()
            .await
            .map(|answer| answer.data)
    }
}
