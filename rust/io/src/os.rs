//! The operating system's clocks, read raw.
//!
//! Everything here is timed by CLOCK_MONOTONIC_RAW: the oscillator itself, which no NTP daemon on the machine bends or
//! steps. Kernel receive stamps come on CLOCK_REALTIME, so each batch of them is carried over by reading
//! RAW, REALTIME, RAW: the stamp is then certain to within half of the bracket.
use std::io;

/// A reading of both clocks at (nearly) one instant.
#[derive(Clone, Copy, Debug)]
pub struct Bracket {
    raw_ns: i64,
    realtime_ns: i64,
    half_width_ns: i64,
}

/// A bracket as narrow as this is nothing but the cost of reading a clock.
const TIGHT_NS: i64 = 100;
/// A kernel stamp older than this against the bracket, or in its future, was not made by the same clock reading.
const STAMP_AGE_MAX_NS: i64 = 1_000_000_000;

fn read_clock(id: libc::clockid_t) -> i64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid timespec for the kernel to write into, and lives through the call.
    let failed = unsafe { libc::clock_gettime(id, &mut ts) };
    assert_eq!(failed, 0, "CLOCK {id} exists on every Linux since 2.6.28");
    ts.tv_sec * 1_000_000_000 + ts.tv_nsec
}

/// CLOCK_MONOTONIC_RAW in nanoseconds. Realtime-safe.
pub fn raw_ns() -> i64 {
    read_clock(libc::CLOCK_MONOTONIC_RAW)
}

/// CLOCK_REALTIME (UTC) in nanoseconds. Realtime-safe.
pub fn realtime_ns() -> i64 {
    read_clock(libc::CLOCK_REALTIME)
}

/// CLOCK_BOOTTIME in nanoseconds: runs through a suspend, where the raw clock stands still. Realtime-safe.
pub fn boottime_ns() -> i64 {
    read_clock(libc::CLOCK_BOOTTIME)
}

/// For how long this machine has been suspended since it booted, in nanoseconds, to [`ASLEEP_ERROR_NS`]: what the clock
/// that runs through a suspend has gained on the one that stands still, and the raw clock with it. Realtime-safe.
pub fn asleep_ns() -> i64 {
    let (mut asleep_ns, mut width_min_ns) = (0, i64::MAX);
    // The scheduler may come between any two readings, but hardly ten times.
    for _ in 0..10 {
        let before = read_clock(libc::CLOCK_MONOTONIC);
        let through = boottime_ns();
        let width_ns = read_clock(libc::CLOCK_MONOTONIC) - before;
        if width_ns < width_min_ns {
            (asleep_ns, width_min_ns) = (through - before - width_ns / 2, width_ns);
        }
        if width_min_ns <= ASLEEP_ERROR_NS {
            break;
        }
    }
    asleep_ns
}

/// How far two readings of [`asleep_ns`] may be apart on a machine that is merely busy.
pub const ASLEEP_ERROR_NS: i64 = 1_000_000;

/// CPU time that a thread of this process has used, in nanoseconds. Errors once it has ended.
pub fn thread_cpu_ns<T>(thread: &std::thread::JoinHandle<T>) -> io::Result<i64> {
    use std::os::unix::thread::JoinHandleExt;
    let mut clock = 0;
    // SAFETY: a thread that was not joined has a valid pthread_t, and `thread` owns it; `clock` lives through the call.
    match unsafe { libc::pthread_getcpuclockid(thread.as_pthread_t(), &mut clock) } {
        0 => Ok(read_clock(clock)),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// CPU time that the calling thread has used, in nanoseconds.
pub fn this_thread_cpu_ns() -> i64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Lets the calling thread run before all ordinary ones. Errors where that is not permitted.
pub fn be_realtime(priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the calling thread is alive, and `parameters` lives through the call.
    match unsafe { libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_FIFO, &parameters) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Lets the calling thread go before ordinary ones when both want the processor, without keeping it from them. Errors
/// where that is not permitted (it takes CAP_SYS_NICE, or a `ulimit -e` of 31).
pub fn be_prompt() -> io::Result<()> {
    const NICE: libc::c_int = -11;
    // SAFETY: takes no pointer; 0 is the calling thread, whose own priority it is on Linux.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The kernel's random name of this boot.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Fills `bytes` from the kernel's random source.
pub fn random(bytes: &mut [u8]) -> io::Result<()> {
    use std::io::Read;
    std::fs::File::open("/dev/urandom")?.read_exact(bytes)
}

/// A random number from the kernel.
pub fn random_u64() -> io::Result<u64> {
    let mut bytes = [0; 8];
    random(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

impl Bracket {
    /// A tight reading: at most three, since the scheduler may come between any two. Realtime-safe.
    pub fn take() -> Self {
        let mut best = Self::once();
        for _ in 0..2 {
            if best.half_width_ns <= TIGHT_NS {
                break;
            }
            let next = Self::once();
            if next.half_width_ns < best.half_width_ns {
                best = next;
            }
        }
        best
    }

    /// What the raw clock and the realtime clock read at one instant, and how far the former may be off. Realtime-safe.
    pub fn parts(self) -> (i64, i64, i64) {
        (self.raw_ns, self.realtime_ns, self.half_width_ns)
    }

    fn once() -> Self {
        let (before, realtime_ns, after) = (raw_ns(), realtime_ns(), raw_ns());
        Self { raw_ns: before + (after - before) / 2, realtime_ns, half_width_ns: (after - before + 1) / 2 }
    }

    /// A kernel stamp on the raw clock, and how far it may be off; `None` if the realtime clock was stepped meanwhile.
    pub fn to_raw(self, stamp_realtime_ns: i64) -> Option<(i64, i64)> {
        let age = self.realtime_ns - stamp_realtime_ns;
        (-self.half_width_ns..STAMP_AGE_MAX_NS)
            .contains(&age)
            // The realtime clock is slewed by at most 500 ppm against the raw one: 0.5 ns a microsecond of age.
            .then(|| (self.raw_ns - age, self.half_width_ns + age.abs() / 2_000 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_taken_now_lands_between_the_raw_readings_around_it() {
        let before = raw_ns();
        let stamp = realtime_ns();
        let after = raw_ns();
        let (raw, error) = Bracket::take().to_raw(stamp).expect("nobody steps the clock within a microsecond");
        assert!(raw + error >= before && raw - error <= after, "{before} {raw}±{error} {after}");
    }

    #[test]
    fn a_machine_that_is_awake_gains_no_sleep() {
        let first = asleep_ns();
        assert!(first >= -ASLEEP_ERROR_NS);
        for _ in 0..100_000 {
            assert!(
                (asleep_ns() - first).abs() <= ASLEEP_ERROR_NS,
                "or this machine was suspended in this very moment"
            );
        }
        assert!(ASLEEP_ERROR_NS * 2 < harmonia_core::session::SUSPEND_MIN.ns());
    }

    #[test]
    fn a_stamp_from_a_stepped_clock_is_discarded() {
        let bracket = Bracket { raw_ns: 5_000_000_000, realtime_ns: 90_000_000_000, half_width_ns: 100 };
        assert!(bracket.to_raw(90_000_001_000).is_none(), "from the future");
        assert!(bracket.to_raw(80_000_000_000).is_none(), "from long ago");
        assert_eq!(bracket.to_raw(89_999_000_000).unwrap().0, 4_999_000_000);
    }
}
