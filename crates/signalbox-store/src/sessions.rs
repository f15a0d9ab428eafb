//! Lists of sessions: which index a filter reads, and what is left to look at in each session.
//!
//! Every list reads ranges of an index in their order, newest first. A list of some statuses reads one range for each
//! status and merges them; what no index holds is looked for in a bounded number of sessions.

use signalbox_core::session::{Session, SessionStatus};
use signalbox_wire::id::{TenantId, WorkflowId};

use crate::api::{Page, SessionFilter};
use crate::schema::Cell;

/// Sessions that one page of a list looks at, at most, where no index holds all that is asked for.
pub(crate) const SESSIONS_LOOKED_AT: usize = 1_000;
/// How many of them are read in one go: each may be as large as a request's body.
pub(crate) const SESSIONS_AT_ONCE: usize = 50;

/// How a database has the sessions of a workflow in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByWorkflow {
    /// Those of each status apart.
    AndStatus,
    /// All together: a status that changes costs nothing there. Some statuses of a workflow are looked for among its
    /// sessions where most may be meant, and else among those of these statuses.
    Alone,
}

/// A statement in the SQL of both databases. Its columns are a session's moment, id and body; each `?` stands for
/// the next value.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    pub(crate) sql: String,
    pub(crate) values: Vec<Cell<'a>>,
}

const ORDER: &str = "ORDER BY created_at DESC, id DESC LIMIT ?";

impl SessionFilter {
    /// The statement for one more than the page's sessions; `None` for a place that no list has given. Of the
    /// filter it obeys what the index holds that it reads.
    pub(crate) fn listing<'a>(
        &'a self,
        tenant: &'a TenantId,
        page: &'a Page,
        by_workflow: ByWorkflow,
    ) -> Option<Listing<'a>> {
        let after = page.after.as_deref().map(place_of);
        let after = match after {
            Some(None) => return None,
            Some(place) => place,
            None => None,
        };
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX).saturating_add(1);
        let range = Range { filter: self, workflow: self.workflow.as_ref(), after, limit };
        Some(match &self.agent {
            Some(agent) => {
                let mut listing = Listing {
                    sql: "SELECT held.created_at AS created_at, sessions.id AS id, sessions.body \
                        FROM session_agents AS held CROSS JOIN sessions \
                        WHERE sessions.tenant = held.tenant AND sessions.id = held.session \
                        AND held.tenant = ? AND held.agent = ?"
                        .to_owned(),
                    values: vec![tenant.as_str().into(), agent.as_str().into()],
                };
                range.add(&mut listing, "held.created_at", "held.session");
                listing.sql.push_str(" ORDER BY held.created_at DESC, held.session DESC LIMIT ?");
                listing.values.push(limit.into());
                listing
            }
            None => self.merged(tenant, range, by_workflow),
        })
    }

    /// Whether [`Self::listing`] obeys the whole filter.
    pub(crate) fn is_exact(&self, by_workflow: ByWorkflow) -> bool {
        let (is_by_agent, has_statuses) = (self.agent.is_some(), !self.statuses.is_empty());
        let has_workflow = self.workflow.is_some();
        self.text.is_none()
            && !(is_by_agent && (has_workflow || has_statuses))
            && !(by_workflow == ByWorkflow::Alone && has_workflow && has_statuses)
    }

    /// Whether a session that the listing gave is one of those asked for.
    pub(crate) fn admits(&self, session: &Session) -> bool {
        self.workflow.as_ref().is_none_or(|workflow| *workflow == session.workflow)
            && (self.statuses.is_empty() || self.statuses.contains(&session.status))
            && self.text.as_ref().is_none_or(|text| holds(session, &text.to_lowercase()))
    }

    /// One range, or the ranges of several statuses merged.
    fn merged<'a>(
        &'a self,
        tenant: &'a TenantId,
        mut range: Range<'a>,
        by_workflow: ByWorkflow,
    ) -> Listing<'a> {
        let asked =
            || SessionStatus::ALL.into_iter().filter(|status| self.statuses.contains(status)).collect();
        let statuses: Vec<SessionStatus> = match (range.workflow.is_some(), by_workflow) {
            (false, _) => asked(),
            (true, ByWorkflow::AndStatus) if self.statuses.is_empty() => SessionStatus::ALL.to_vec(),
            (true, ByWorkflow::AndStatus) => asked(),
            (true, ByWorkflow::Alone) => {
                // Nearly all sessions are completed, and few have another status.
                if !self.statuses.is_empty() && !self.statuses.contains(&SessionStatus::Completed) {
                    range.workflow = None;
                    asked()
                } else {
                    Vec::new()
                }
            }
        };
        match statuses.as_slice() {
            [] => range.of(tenant, None),
            [status] => range.of(tenant, Some(*status)),
            _ => {
                let parts = statuses.into_iter().map(|status| range.of(tenant, Some(status)));
                let (sql, values): (Vec<String>, Vec<Vec<Cell<'a>>>) =
                    parts.map(|part| (format!("SELECT * FROM ({}) AS part", part.sql), part.values)).unzip();
                let sql = format!("{} {ORDER}", sql.join(" UNION ALL "));
                let values = values.into_iter().flatten().chain([range.limit.into()]).collect();
                Listing { sql, values }
            }
        }
    }
}

/// What every range of a list has in common.
struct Range<'a> {
    filter: &'a SessionFilter,
    /// The workflow whose sessions it reads.
    workflow: Option<&'a WorkflowId>,
    after: Option<(i64, &'a str)>,
    limit: i64,
}

impl<'a> Range<'a> {
    fn of(&self, tenant: &'a TenantId, status: Option<SessionStatus>) -> Listing<'a> {
        let sql = "SELECT created_at, id, body FROM sessions WHERE tenant = ?".to_owned();
        let mut listing = Listing { sql, values: vec![tenant.as_str().into()] };
        if let Some(workflow) = self.workflow {
            listing.and("workflow = ?", workflow.as_str());
        }
        if let Some(status) = status {
            listing.and("status = ?", status.name());
        }
        self.add(&mut listing, "created_at", "id");
        listing.sql.push(' ');
        listing.sql.push_str(ORDER);
        listing.values.push(self.limit.into());
        listing
    }

    fn add(&self, listing: &mut Listing<'a>, moment: &str, id: &str) {
        if let Some(since) = self.filter.since {
            listing.and(&format!("{moment} >= ?"), since);
        }
        if let Some(until) = self.filter.until {
            listing.and(&format!("{moment} < ?"), until);
        }
        if let Some((at, after)) = self.after {
            listing.and(&format!("({moment}, {id}) < (?, ?)"), at);
            listing.values.push(after.into());
        }
    }
}

impl<'a> Listing<'a> {
    fn and(&mut self, condition: &str, value: impl Into<Cell<'a>>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.push(value.into());
    }
}

/// A session's place in lists.
pub(crate) fn place(session: &Session) -> String {
    format!("{}/{}", session.created_at.as_micros(), session.id)
}

/// The moment and the id that a place in a list is made of.
pub(crate) fn place_of(position: &str) -> Option<(i64, &str)> {
    let (at, id) = position.split_once('/')?;
    Some((at.parse().ok()?, id))
}

/// Whether a session's id, workflow, input or error contains a text, whatever the case. `needle` is lower case.
fn holds(session: &Session, needle: &str) -> bool {
    let contains = |text: &str| text.to_lowercase().contains(needle);
    contains(session.id.as_str())
        || contains(session.workflow.as_str())
        || session.error.as_deref().is_some_and(contains)
        || serde_json::to_string(&session.input).is_ok_and(|input| contains(&input))
}
