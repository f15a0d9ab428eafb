//! Rows that many callers ask for one by one, read together: what is asked while reads are under way goes into the
//! next, so that rows cost one statement of each table for all who wait, and one who is alone does not wait.

use std::sync::Arc;

use signalbox_core::decision::Key;
use signalbox_wire::id::TenantId;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_postgres::Row;

use super::batch::Map;
use super::pool::Pool;
use super::query::get;
use super::{arrays, sql};
use crate::StoreError;
use crate::read_row::ReadRow;
use crate::schema::{self, TableId};

/// Rows of one read, at most.
const ASKED_MAX: usize = 512;
/// Reads under way at once: one that is stuck holds up nobody but those who are in it.
const READS_AT_ONCE: usize = 2;

/// Whoever reads for everybody. It ends with this handle.
pub(super) struct Reader {
    asks: mpsc::UnboundedSender<Ask>,
    pool: Pool,
}

/// A row, and whoever waits for it.
struct Ask {
    tenant: TenantId,
    key: Key,
    answer: oneshot::Sender<Answer>,
}

/// The place in its question, the version and the body.
type Answer = Result<Option<Row>, StoreError>;

/// A row that was asked for.
pub(super) struct Asked(oneshot::Receiver<Answer>);

impl Reader {
    /// Begins to read for everybody.
    pub(super) fn new(pool: Pool) -> Self {
        let (asks, asked) = mpsc::unbounded_channel();
        tokio::spawn(run(pool.clone(), asked));
        Self { asks, pool }
    }

    /// Whether rows with such a key are read together: those that are small.
    pub(super) fn takes(key: &Key) -> bool {
        !matches!(key, Key::Session(_) | Key::Payload(_) | Key::Definition(..) | Key::ChannelMessage(..))
    }

    /// Asks for the row with this key, as it is now or later.
    pub(super) fn ask(&self, tenant: &TenantId, key: &Key) -> Asked {
        let (answer, asked) = oneshot::channel();
        // One that nobody takes is answered by its sender's end.
        let _gone = self.asks.send(Ask { tenant: tenant.clone(), key: key.clone(), answer });
        Asked(asked)
    }

    /// The row that was asked for by its key.
    pub(super) async fn answer(&self, key: &Key, asked: Asked) -> Result<Option<ReadRow>, StoreError> {
        let ended = |_| StoreError::Unavailable("the store is closed".to_owned());
        let late = |_| StoreError::Unavailable("PostgreSQL did not answer in time".to_owned());
        let row = timeout(self.pool.patience(), asked.0).await.map_err(late)?.map_err(ended)??;
        let Some(row) = row else { return Ok(None) };
        let body: &str = get(&row, 2)?;
        let loaded = schema::loaded(key, get(&row, 1)?, body)?;
        Ok(loaded.map(|loaded| ReadRow::alone(loaded, body.len())))
    }
}

/// Callers wait for their rows and for nothing else, so there are no more asks than callers.
async fn run(pool: Pool, mut asked: mpsc::UnboundedReceiver<Ask>) {
    let places = Arc::new(Semaphore::new(READS_AT_ONCE));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let mut asks = Vec::new();
        if asked.recv_many(&mut asks, ASKED_MAX).await == 0 {
            return;
        }
        // Those whom one commit has answered go on, and ask, at the same time: all who are awake ask before the read.
        tokio::task::yield_now().await;
        while asks.len() < ASKED_MAX
            && let Ok(ask) = asked.try_recv()
        {
            asks.push(ask);
        }
        let pool = pool.clone();
        tokio::spawn(async move {
            answer(&pool, asks).await;
            drop(place);
        });
    }
}

async fn answer(pool: &Pool, mut asks: Vec<Ask>) {
    asks.retain(|ask| !ask.answer.is_closed());
    let mut rows = read(pool, &asks).await;
    for (number, ask) in asks.into_iter().enumerate() {
        let answer = rows.as_mut().map(|rows| rows.remove(&number)).map_err(|error| error.clone());
        let _gone = ask.answer.send(answer);
    }
}

/// The rows that exist, by the number of their question.
async fn read(pool: &Pool, asks: &[Ask]) -> Result<Map<usize, Row>, StoreError> {
    let mut tables: Map<TableId, Vec<usize>> = Map::default();
    for (number, ask) in asks.iter().enumerate() {
        tables.entry(TableId::of(&ask.key)).or_default().push(number);
    }
    let tables: Vec<_> = tables.into_iter().collect();
    let columns = tables.iter().map(|(table, numbers)| {
        let names: Vec<_> =
            numbers.iter().map(|number| (&asks[*number].tenant, &asks[*number].key)).collect();
        arrays::keys(*table, &names)
    });
    let columns: Vec<_> = columns.collect();
    let questions = tables.iter().zip(&columns);
    let questions: Vec<_> = questions
        .map(|((table, _), columns)| (sql::of(*table).read_many.as_str(), columns.parameters()))
        .collect();
    let answers = pool.query_all(&questions).await?;
    let mut rows = Map::default();
    for ((_, numbers), answer) in tables.iter().zip(answers) {
        for row in answer {
            let place = usize::try_from(get::<i64>(&row, 0)?).unwrap_or_default();
            if let Some(number) = numbers.get(place.wrapping_sub(1)) {
                rows.insert(*number, row);
            }
        }
    }
    Ok(rows)
}
