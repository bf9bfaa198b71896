//! What the kernel knows of this process, under the names that all programs use for it.
//!
//! Promises: what cannot be read is left out, not invented.
//! Deliberately not here: other processes, and the machine.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use super::text::Page;

/// The numbers of `/proc/self`, written to a page.
pub(super) fn write(page: &mut Page, started_s: Option<u64>) {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = page.counter("process_cpu_seconds_total", "Processor time used, by the kernel for us too.");
    cpu.is(format_args!("{}.{:09}", spent.tv_sec, spent.tv_nsec));
    optional(page, "process_open_fds", "Open file descriptors.", open_descriptors());
    optional(page, "process_max_fds", "How many file descriptors may be open.", descriptors_max());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| number(&status, name).map(|kib| kib * 1024);
    optional(page, "process_resident_memory_bytes", "Memory that is in use.", kib("VmRSS:"));
    optional(page, "process_virtual_memory_bytes", "Addresses that are in use.", kib("VmSize:"));
    optional(page, "process_threads", "Threads.", number(&status, "Threads:"));
    optional(page, "process_start_time_seconds", "When the process started, in seconds since 1970.", started_s);
}

fn optional(page: &mut Page, name: &'static str, help: &str, number: Option<u64>) {
    let family = page.gauge(name, help);
    if let Some(number) = number {
        family.is(number);
    }
}

/// The number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn open_descriptors() -> Option<u64> {
    // Since Linux 6.2 the folder's size is their number; before, they have to be listed.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        count => Some(count),
    }
}

fn descriptors_max() -> Option<u64> {
    number(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
}

#[cfg(test)]
mod tests {
    use super::super::text::Format;
    use super::*;

    #[test]
    fn the_process_has_memory_descriptors_and_a_thread() {
        let mut page = Page::new(Format::Prometheus);
        write(&mut page, Some(7));
        let page = page.finish();
        for name in ["process_cpu_seconds_total", "process_open_fds", "process_max_fds", "process_threads"] {
            assert!(number(&page, &format!("{name} ")).is_some() || name.contains("cpu"), "{name}: {page}");
        }
        assert!(number(&page, "process_resident_memory_bytes ").unwrap() > 1 << 20, "{page}");
        assert_eq!(number(&page, "process_start_time_seconds "), Some(7));
    }
}
