//! Whether a process id still means the process that was started: ids are reused, so the start time counts too.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What tells a live process from another that later got the same id; `None` when no live process has it.
///
/// On Linux the boot id and the start tick, elsewhere the start time as `ps` shows it. A zombie is not alive.
#[must_use]
pub fn identity(pid: u32) -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        linux(pid)
    }
    #[cfg(not(target_os = "linux"))]
    {
        ps(pid)
    }
}

#[cfg(target_os = "linux")]
fn linux(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything, so count from the last bracket.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    // Field 22 is the start time in ticks since boot; `state` was field 3.
    let ticks = fields.nth(18)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{}:{ticks}", boot.trim().get(..8).unwrap_or_default()))
}

#[cfg(not(target_os = "linux"))]
fn ps(pid: u32) -> Option<String> {
    let out = std::process::Command::new("ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let (state, started) = text.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

/// Whether `pid` is alive and is the process whose identity was `identity`.
#[must_use]
pub fn is_alive(pid: u32, wanted: &str) -> bool {
    identity(pid).is_some_and(|now| now == wanted)
}

/// Sends `signal` to `pid`; false when there is no such process or it is not ours.
pub fn send(pid: u32, signal: Signal) -> bool {
    // 0 would mean our own group and 1 is init: never those.
    match i32::try_from(pid) {
        Ok(pid) if pid > 1 => kill(Pid::from_raw(pid), signal).is_ok(),
        _ => false,
    }
}

/// Resident memory of a process in bytes; `None` where it cannot be told.
#[must_use]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_itself_and_nobody_else() {
        let pid = std::process::id();
        let own = identity(pid).unwrap();
        assert!(is_alive(pid, &own));
        assert!(!is_alive(pid, "another:1"));
    }

    #[test]
    fn a_process_that_ended_is_not_alive() {
        let mut child = std::process::Command::new("sh").args(["-c", "exit 0"]).spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(identity(child.id()), None);
    }

    #[test]
    fn init_and_the_own_group_are_never_signalled() {
        assert!(!send(0, Signal::SIGTERM));
        assert!(!send(1, Signal::SIGTERM));
        assert!(!send(u32::MAX, Signal::SIGTERM));
    }
}
