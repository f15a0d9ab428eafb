//! Calls about schedules: what starts a workflow by the clock.

use signalbox_wire::opscore::{
    BackfillAnswer, BackfillBody, FireView, PatchScheduleBody, ScheduleBody, ScheduleView, StartScheduleBody,
};
use signalbox_wire::paging::Page;

use crate::client::{Client, ListQuery};
use crate::error::Error;

impl Client {
    /// A page of the schedules.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn schedules(&self, query: &ListQuery) -> Result<Page<ScheduleView>, Error> {
        self.get(&["v1", "opscore", "schedules"]).list(query).page().await
    }

    /// One schedule.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn schedule(&self, id: &str) -> Result<ScheduleView, Error> {
        self.get(&["v1", "opscore", "schedules", id]).fetch().await
    }

    /// Keeps a schedule under its id, in place of the one before.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn apply_schedule(&self, body: &ScheduleBody) -> Result<ScheduleView, Error> {
        self.post(&["v1", "opscore", "schedules"]).json(body).fetch().await
    }

    /// Changes a schedule; what is not given stays.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn change_schedule(&self, id: &str, body: &PatchScheduleBody) -> Result<ScheduleView, Error> {
        self.patch(&["v1", "opscore", "schedules", id]).json(body).fetch().await
    }

    /// Removes a schedule.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_schedule(&self, id: &str) -> Result<(), Error> {
        self.delete(&["v1", "opscore", "schedules", id]).send().await.map(drop)
    }

    /// Lets a schedule start nothing until it is resumed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pause_schedule(&self, id: &str) -> Result<ScheduleView, Error> {
        self.post(&["v1", "opscore", "schedules", id, "pause"]).fetch().await
    }

    /// Lets a paused schedule go on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn resume_schedule(&self, id: &str) -> Result<ScheduleView, Error> {
        self.post(&["v1", "opscore", "schedules", id, "resume"]).fetch().await
    }

    /// Starts what a schedule would, now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start_schedule(&self, id: &str, body: &StartScheduleBody) -> Result<FireView, Error> {
        self.post(&["v1", "opscore", "schedules", id, "trigger"]).json(body).fetch().await
    }

    /// Starts what a schedule would have started in a time that is past.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn backfill_schedule(&self, id: &str, body: &BackfillBody) -> Result<BackfillAnswer, Error> {
        self.post(&["v1", "opscore", "schedules", id, "backfill"]).json(body).fetch().await
    }

    /// A page of what a schedule started and passed over.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn schedule_runs(&self, id: &str, query: &ListQuery) -> Result<Page<FireView>, Error> {
        self.get(&["v1", "opscore", "schedules", id, "runs"]).list(query).page().await
    }
}
