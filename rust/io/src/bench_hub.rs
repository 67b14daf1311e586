//! What a platform costs beside many others in one process: the hub's own CPU time.
//!
//! A node of this process's own answers and sends frames; by the kernel's count only the hub's thread is measured, from
//! when every clock is locked and the bursts are over. Sending on loopback delivers too, so part of what the node would
//! pay for receiving is counted here.
use std::time::{Duration, Instant};

use harmonia_core::servo::LockState;

use crate::bench::Folder;
use crate::error::IoError;
use crate::hub::Hub;
use crate::node::Node;
use crate::platform::Platform;

const CIRCLE: u64 = 1;
/// Channels of the frames: a score of usual size.
const CHANNELS: usize = 8;
/// After this, who is not locked will not be.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// Sessions that are opened between two looks, so that the bursts do not all fall together.
const AT_ONCE: usize = 100;

/// What the hub did.
#[derive(Clone, Copy, Debug)]
pub struct HubCost {
    /// How many platforms there were.
    pub platforms: usize,
    /// How many were locked at the end.
    pub locked: usize,
    /// Exchanges used and frames followed while it was measured.
    pub exchanges: u64,
    /// See `exchanges`.
    pub frames: u64,
    /// CPU time of the hub's thread.
    pub cpu_ns: i64,
    /// How long it was measured.
    pub elapsed: Duration,
}

impl HubCost {
    /// CPU time for one platform in one second, in microseconds.
    pub fn us_per_platform_s(&self) -> f64 {
        self.cpu_ns as f64 / 1e3 / self.platforms as f64 / self.elapsed.as_secs_f64()
    }
}

/// Measures `platforms` platforms for `seconds`, after they have come to rest.
pub fn hub(platforms: usize, seconds: f64) -> Result<HubCost, IoError> {
    let folder = Folder::make("hub")?;
    let node = Node::start("127.0.0.1", 0, &folder.0.join("clock"))?;
    node.add_circle(CIRCLE, CHANNELS, 1e-3)?;
    let cpu_ns = || Hub::shared()?.cpu_ns().map_err(|source| IoError::System { what: "a thread's CPU time", source });
    let mut many = Vec::with_capacity(platforms);
    for number in 1..=platforms as u64 {
        node.add_sleeper(CIRCLE, number)?;
        let (session, secret) = (number << 32 | u64::from(node.port()), [number as u8; 32]);
        node.attach(number, session, &secret, false, true)?;
        let platform = Platform::new(48_000, 0, (number % 100) as i64 * 1_000, Some(number))?;
        platform.connect("127.0.0.1", node.port(), session, &secret, Some(&node.time_keys()))?;
        many.push(platform);
        if many.len().is_multiple_of(AT_ONCE) {
            std::thread::sleep(LOOK);
        }
    }
    let locked = |many: &[Platform]| many.iter().filter(|one| one.clock().1.state == LockState::Locked).count();
    let begin = Instant::now();
    while locked(&many) < platforms && begin.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
    }
    let done = |many: &[Platform]| {
        let sums = many.iter().map(|one| (one.clock().2, one.frames().frames.followed));
        sums.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    let before = (Instant::now(), cpu_ns()?, done(&many));
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = (Instant::now(), cpu_ns()?, done(&many));
    Ok(HubCost {
        platforms,
        locked: locked(&many),
        exchanges: after.2 .0 - before.2 .0,
        frames: after.2 .1 - before.2 .1,
        cpu_ns: after.1 - before.1,
        elapsed: after.0 - before.0,
    })
}
