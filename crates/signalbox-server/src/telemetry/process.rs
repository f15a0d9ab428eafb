//! What the operating system tells of this process, under the names that Prometheus' own libraries give.
//!
//! Read from `/proc`; where there is none, the figures stay zero.

use std::fs;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use signalbox_wire::time::Timestamp;

/// Ticks of processor time in a second, as `/proc` counts them.
const TICKS_PER_SECOND: f64 = 100.0;

/// Figures of this process.
#[derive(Default)]
pub(super) struct ProcessFigures {
    resident: Gauge,
    open_files: Gauge,
    open_files_max: Gauge,
    /// A counter by nature; a gauge because it is read, not counted.
    processor_seconds: Gauge<f64, AtomicU64>,
    start_time: Gauge<f64, AtomicU64>,
}

impl ProcessFigures {
    /// Those of a process that began to serve at `started_at`.
    pub(super) fn new(started_at: Timestamp) -> Self {
        let figures = Self::default();
        figures.start_time.set(started_at.as_micros() as f64 / 1e6);
        figures
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("process");
        registry.register_with_unit(
            "resident_memory",
            "Memory that is resident",
            Unit::Bytes,
            self.resident.clone(),
        );
        registry.register("open_fds", "File descriptors open", self.open_files.clone());
        registry.register("max_fds", "File descriptors that may be open", self.open_files_max.clone());
        registry.register_with_unit(
            "cpu",
            "Processor time spent, of user and system",
            Unit::Seconds,
            self.processor_seconds.clone(),
        );
        registry.register_with_unit(
            "start_time",
            "When the process began, in seconds since 1970",
            Unit::Seconds,
            self.start_time.clone(),
        );
    }

    /// Reads them anew.
    pub(super) fn read(&self) {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        if let Some(kilobytes) = field(&text("/proc/self/status"), "VmRSS:") {
            self.resident.set(kilobytes.saturating_mul(1_024));
        }
        if let Some(limit) = field(&text("/proc/self/limits"), "Max open files") {
            self.open_files_max.set(limit);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory that is being read.
            self.open_files.set(i64::try_from(open.count().saturating_sub(1)).unwrap_or(i64::MAX));
        }
        if let Some(ticks) = processor_ticks(&text("/proc/self/stat")) {
            self.processor_seconds.set(ticks / TICKS_PER_SECOND);
        }
    }
}

/// The first number on the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<i64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// User and system time of `/proc/self/stat`. What stands in parentheses is the process's name, which may hold spaces.
fn processor_ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some(ticks()? + ticks()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_where_the_kernel_writes_them() {
        let stat = "4711 (a name) x) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 1";
        assert_eq!(processor_ticks(stat), Some(300.0));
        assert_eq!(field("VmSize:\t 9 kB\nVmRSS:\t 1234 kB\n", "VmRSS:"), Some(1_234));
        let limits = "Max open files            1024                 4096                 files";
        assert_eq!(field(limits, "Max open files"), Some(1_024));
        assert_eq!(processor_ticks(""), None);
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let figures = ProcessFigures::new(Timestamp::from_seconds(5));
        figures.read();
        if cfg!(target_os = "linux") {
            assert!(figures.resident.get() > 0 && figures.open_files.get() > 0);
        }
    }
}
