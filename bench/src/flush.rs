//! How long this disk takes to make 4 KiB durable, measured in the run whose figures depend on it.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::clock;
use crate::stats::percentile;

const BLOCK: [u8; 4096] = [0x5a; 4096];
const FLUSHES_MAX: usize = 20_000;

/// Latency of one append of 4 KiB with `fdatasync`.
#[derive(Serialize)]
pub(crate) struct Flush {
    pub(crate) count: usize,
    pub(crate) per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Flush {
    /// Appends and flushes in `folder` for about `time`, then removes the file.
    pub(crate) fn measure(folder: &Path, time: Duration) -> anyhow::Result<Self> {
        let failed = || format!("the disk of {} cannot be measured", folder.display());
        let mut file: File = tempfile::tempfile_in(folder).with_context(failed)?;
        let mut latencies_us = Vec::new();
        let begin = clock::now();
        let mut sent = begin;
        while latencies_us.is_empty() || (sent - begin < time && latencies_us.len() < FLUSHES_MAX) {
            file.write_all(&BLOCK).and_then(|()| file.sync_data()).with_context(failed)?;
            let done = clock::now();
            latencies_us.push((done - sent).as_secs_f64() * 1e6);
            sent = done;
        }
        Ok(Self {
            count: latencies_us.len(),
            per_s: latencies_us.len() as f64 / (sent - begin).as_secs_f64(),
            p50_us: percentile(&latencies_us, 0.50),
            p99_us: percentile(&latencies_us, 0.99),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn at_least_one_flush_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let flush = super::Flush::measure(folder.path(), Duration::ZERO).unwrap();
        assert_eq!(flush.count, 1);
        assert!(flush.p50_us > 0.0 && flush.p99_us >= flush.p50_us);
    }
}
