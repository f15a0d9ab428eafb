//! What one load run found: how many, how fast, and everything that went wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

const LATENCY_MIN_NS: u64 = 1_000;
const LATENCY_MAX_NS: u64 = 120_000_000_000;
const DIGITS: u8 = 3;
const SAMPLE_MAX: usize = 300;

/// One thread's count, merged into an [`Outcome`] at the end.
pub(crate) struct Tally {
    latency: Histogram<u64>,
    /// Successes of the whole run, the warm-up included.
    succeeded: u64,
    last_done: Option<Instant>,
    faults: BTreeMap<String, u64>,
    sample: Option<String>,
    picked: Vec<(u64, String)>,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let latency = Histogram::new_with_bounds(LATENCY_MIN_NS, LATENCY_MAX_NS, DIGITS)?;
        let (faults, picked) = (BTreeMap::new(), Vec::new());
        Ok(Self { latency, succeeded: 0, last_done: None, faults, sample: None, picked })
    }

    pub(crate) fn success(&mut self, sent: Instant, done: Instant, measured: bool) {
        self.succeeded += 1;
        self.last_done = Some(done);
        if measured {
            let latency_ns = u64::try_from((done - sent).as_nanos()).unwrap_or(u64::MAX);
            self.latency.saturating_record(latency_ns);
        }
    }

    /// A fault counts even in the warm-up: what is answered wrongly once may be answered wrongly always.
    pub(crate) fn fault(&mut self, kind: String, sample: &[u8]) {
        *self.faults.entry(kind).or_default() += 1;
        if self.sample.is_none() && !sample.is_empty() {
            self.sample = Some(String::from_utf8_lossy(&sample[..sample.len().min(SAMPLE_MAX)]).into_owned());
        }
    }

    pub(crate) fn pick(&mut self, ticket: u64, value: String) {
        self.picked.push((ticket, value));
    }
}

/// The whole run.
pub(crate) struct Outcome {
    /// Successes within the measured time.
    pub(crate) measured: u64,
    /// Successes of the whole run, the warm-up and the last answers included.
    pub(crate) succeeded: u64,
    /// The measured time; for a counted run, from the first request to the last answer.
    pub(crate) time: Duration,
    pub(crate) latency: Histogram<u64>,
    /// Everything that was not a 2xx answer, by kind.
    pub(crate) faults: BTreeMap<String, u64>,
    /// The body of the first answer that was not 2xx.
    pub(crate) sample: Option<String>,
    /// What was picked from the answers, in the order of the requests.
    pub(crate) picked: Vec<String>,
    /// The number that the next run may begin at.
    pub(crate) next_ticket: u64,
    /// When the first request was sent.
    pub(crate) begin_unix_us: u64,
}

impl Outcome {
    /// Merges the threads; without a fixed time, it is the time up to the last answer.
    pub(crate) fn merge(
        tallies: Vec<Tally>,
        begin: Instant,
        fixed: Option<Duration>,
        begin_unix_us: u64,
        next_ticket: u64,
    ) -> anyhow::Result<Self> {
        let mut all = Tally::new()?;
        for tally in tallies {
            all.latency.add(&tally.latency)?;
            all.succeeded += tally.succeeded;
            all.last_done = all.last_done.max(tally.last_done);
            all.sample = all.sample.or(tally.sample);
            all.picked.extend(tally.picked);
            for (kind, count) in tally.faults {
                *all.faults.entry(kind).or_default() += count;
            }
        }
        all.picked.sort();
        let time = fixed.or(all.last_done.map(|done| done - begin)).unwrap_or_default();
        Ok(Self {
            measured: all.latency.len(),
            succeeded: all.succeeded,
            time,
            latency: all.latency,
            faults: all.faults,
            sample: all.sample,
            picked: all.picked.into_iter().map(|(_, value)| value).collect(),
            next_ticket,
            begin_unix_us,
        })
    }

    pub(crate) fn per_s(&self) -> f64 {
        self.measured as f64 / self.time.as_secs_f64().max(1e-9)
    }

    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e6
    }

    /// The faults as one line each, with a sample of what was answered.
    pub(crate) fn fault_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.faults.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        if let (false, Some(sample)) = (lines.is_empty(), &self.sample) {
            lines.push(format!("first: {sample}"));
        }
        lines
    }
}
