//! Every way in which io can refuse, with what to do about it.
use std::net::SocketAddr;
use std::path::PathBuf;

use harmonia_core::coupling::CouplingError;
use harmonia_core::mixer::MixerError;
use harmonia_core::program::CHANNELS_MAX;
use harmonia_core::voice::VoiceError;
use thiserror::Error;

/// Why a socket, a file or a call was refused.
#[derive(Debug, Error)]
pub enum IoError {
    /// The UDP address could not be bound.
    #[error(
        "cannot listen on UDP {address}: {source}; choose another port (0 picks a free one) or stop what holds it"
    )]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The TCP address could not be bound.
    #[error(
        "cannot listen on TCP {address}: {source}; choose another port (0 picks a free one) or stop what holds it"
    )]
    BindTcp {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A certificate or key that cannot be used.
    #[error("cannot use {what}: {reason}; give PEM files that belong together")]
    Certificate {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A key exchange failed.
    #[error("no keys from {host} (NTS-KE port {port}): {reason}")]
    KeyExchange {
        /// The host asked.
        host: String,
        /// Its TCP port.
        port: u16,
        /// What went wrong.
        reason: String,
    },
    /// A time server does not answer, or refuses.
    #[error("no time from {server}: {reason}")]
    NoTime {
        /// The server asked.
        server: String,
        /// What came instead.
        reason: String,
    },
    /// A host name without an address.
    #[error("cannot resolve {host}: {source}; give an IP address or a name that this machine knows")]
    Resolve {
        /// The host given.
        host: String,
        /// What the resolver says.
        source: std::io::Error,
    },
    /// A source that cannot be meant.
    #[error(
        "{0:?} names no source: give HOST or HOST:PORT, or nts://HOST[:PORT] with the port of its key exchange (an IPv6 \
         address with a port as [ADDRESS]:PORT)"
    )]
    Upstream(String),
    /// A file could not be read or written.
    #[error("cannot use {path}: {source}; check that its folder exists, is writable and has room")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that is no recording, or none that can be played.
    #[error("cannot play {path}: {reason}")]
    Music {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused something that it normally has.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it says.
        source: std::io::Error,
    },
    /// A sound that would be heard before it is played, or seconds after.
    #[error("an output latency is 0 to 2000 ms, not {} ms", .given_ns / 1_000_000)]
    OutputLatency {
        /// What was given.
        given_ns: i64,
    },
    /// There is no ALSA on this machine.
    #[error(
        "no sound card without ALSA's library: {reason}; install it (Debian, Ubuntu: apt install libasound2; Fedora: dnf \
         install alsa-lib)"
    )]
    NoAlsa {
        /// What the loader says.
        reason: String,
    },
    /// A sound device that does not play, or plays no more.
    #[error("sound device {name:?}: {reason}; `harmonia platform devices` lists those that there are")]
    Device {
        /// The device.
        name: String,
        /// What ALSA says of it.
        reason: String,
    },
    /// A queue that would run dry, or keep an opt-out waiting.
    #[error("a sound device's buffer is 10 to 500 ms, not {} ms", .given_ns / 1_000_000)]
    DeviceBuffer {
        /// What was given.
        given_ns: i64,
    },
    /// A circle that this node does not host.
    #[error("circle {0} is not hosted here; add it first")]
    UnknownCircle(u64),
    /// A sleeper that this node does not know.
    #[error("sleeper {0} is not in any circle here; add them first")]
    UnknownSleeper(u64),
    /// A voice that cannot be sung.
    #[error(transparent)]
    Voice(#[from] VoiceError),
    /// A voice, level or plan that does not fit the circle.
    #[error(transparent)]
    Mixer(#[from] MixerError),
    /// A coupling, weight, strength or lag out of range.
    #[error(transparent)]
    Coupling(#[from] CouplingError),
    /// A level out of range.
    #[error("a level must be a number from 0 to {max}, not {given}")]
    Level {
        /// The level given.
        given: f32,
        /// The largest allowed.
        max: f32,
    },
    /// More channels than a score may have.
    #[error("a circle has at most {CHANNELS_MAX} channels, not {0}")]
    Channels(usize),
    /// A sample rate that cannot be rendered.
    #[error("a sample rate must be from 8000 to 192000 Hz, not {0}")]
    SampleRate(u32),
    /// A simulated clock so wrong that its readings would not fit their numbers.
    #[error(
        "a platform's clock may be at most {offset_max_ns} ns and {drift_max_ppb} ppb wrong, not {offset_ns} ns and \
         {drift_ppb} ppb"
    )]
    LocalClock {
        /// The displacement given.
        offset_ns: i64,
        /// The drift given.
        drift_ppb: i64,
        /// The largest displacement allowed, either way.
        offset_max_ns: i64,
        /// The largest drift allowed, either way.
        drift_max_ppb: i64,
    },
    /// A call that does not fit the state.
    #[error("{0}")]
    State(&'static str),
}

impl IoError {
    /// For `map_err`: the file that was being used.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
