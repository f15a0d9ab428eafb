//! Which sessions are meant: the filters of a list, and of what is done to many at once.

use serde::Deserialize;
use signalbox_core::session::SessionStatus;
use signalbox_store::SessionFilter;
use signalbox_wire::id::{AgentId, WorkflowId};
use signalbox_wire::opscore::SessionFilterBody;

use crate::http::params::{self, Reader};
use crate::surface::opscore::logs::read::sought;

/// Which sessions.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionsQuery {
    /// Those of this workflow.
    pub(crate) workflow: Option<String>,
    /// Those with one of these statuses, separated by commas: started, running, paused, completed, failed, cancelled; or
    /// open, for all that are not over.
    pub(crate) status: Option<String>,
    /// Those in which this agent holds or held a task.
    pub(crate) agent: Option<String>,
    /// Those triggered at or after this moment.
    pub(crate) since: Option<String>,
    /// Those triggered before this moment.
    pub(crate) until: Option<String>,
    /// Those with this text in their id, workflow, input or error, compared without case.
    pub(crate) text: Option<String>,
}

impl SessionsQuery {
    /// The filter that a body carries.
    pub(crate) fn of(body: &SessionFilterBody) -> Self {
        let SessionFilterBody { workflow, status, agent, since, until, text } = body.clone();
        Self { workflow, status, agent, since, until, text }
    }

    /// Reads the filter; faults are told under `base`, such as `filter/`.
    pub(crate) fn read(&self, reader: &mut Reader, base: &str) -> SessionFilter {
        let at = |name: &str| format!("{base}{name}");
        SessionFilter {
            workflow: reader.read(&at("workflow"), self.workflow.as_deref(), params::id(WorkflowId::parse)),
            statuses: reader.read(&at("status"), self.status.as_deref(), statuses).unwrap_or_default(),
            agent: reader.read(&at("agent"), self.agent.as_deref(), params::id(AgentId::parse)),
            since: reader.read(&at("since"), self.since.as_deref(), params::timestamp),
            until: reader.read(&at("until"), self.until.as_deref(), params::timestamp),
            text: reader.read(&at("text"), self.text.as_deref(), sought),
        }
    }
}

fn statuses(text: &str) -> Result<Vec<SessionStatus>, String> {
    let mut found = Vec::new();
    for word in text.split(',').map(str::trim) {
        match word {
            "open" => found.extend(open()),
            word => found.push(status(word)?),
        }
    }
    Ok(found)
}

/// The statuses of sessions that are not over.
pub(super) fn open() -> impl Iterator<Item = SessionStatus> {
    SessionStatus::ALL.into_iter().filter(|status| !status.is_over())
}

fn status(text: &str) -> Result<SessionStatus, String> {
    let found = SessionStatus::ALL.into_iter().find(|status| status.name() == text);
    found.ok_or_else(|| {
        "must be any of started, running, paused, completed, failed, cancelled and open, separated by commas"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_some_of_their_words() {
        assert_eq!(statuses("paused"), Ok(vec![SessionStatus::Paused]));
        assert_eq!(statuses("failed, cancelled"), Ok(vec![SessionStatus::Failed, SessionStatus::Cancelled]));
        let open = [SessionStatus::Started, SessionStatus::Running, SessionStatus::Paused];
        assert_eq!(statuses("open"), Ok(open.to_vec()));
        for text in ["done", "", "failed,", "failed,,running"] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_faults_are_told_where_they_stand() {
        let query = SessionsQuery {
            workflow: Some(String::new()),
            status: Some("done".to_owned()),
            since: Some("noon".to_owned()),
            text: Some(String::new()),
            ..SessionsQuery::default()
        };
        let mut reader = Reader::default();
        query.read(&mut reader, "filter/");
        let refusal = reader.finish().expect_err("faults").0;
        let pointers: Vec<&str> = refusal.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/filter/workflow", "/filter/status", "/filter/since", "/filter/text"]);
    }
}
