//! A million blocks are rendered without one system call, under a filter of the kernel that kills whoever makes one.
//!
//! The filter stays until its process ends. So a test starts this program again as a child, which renders under it and
//! then leaves by the only call that is allowed, or first makes the one that it is told to.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use harmonia_core::phase::{Phase, PhaseOffset};
use harmonia_core::program::{Beat, Channel, Curve, Ear, NoiseColor, Program, Wave};
use harmonia_core::renderer::{Batch, BlockClock, Renderer, Targets};
use harmonia_core::rhythm::{Frequency, Rhythm, Segment};
use harmonia_core::units::{NodeTime, Span};
use num_complex::Complex;

const SIN: &str = "HARMONIA_TEST_SIN";
const RATE: u32 = 48_000;

/// Kills this process when this thread makes a system call other than `exit_group`.
fn forbid_system_calls() {
    const SYSCALL_NUMBER: u32 = 0; // the offset of `nr` in `seccomp_data`
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, SYSCALL_NUMBER),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_exit_group as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: `prctl` is given the numbers that these two options take, and a program that lives through the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program), 0);
    }
}

fn steady(hz: f64) -> Rhythm {
    Rhythm::new(Segment::constant(NodeTime::from_ns(0), Phase::ZERO, Frequency::from_hz(hz).unwrap()))
}

fn program() -> Arc<Program> {
    let waves = [
        Wave::Tone,
        Wave::Binaural { lead: Ear::Left },
        Wave::Isochronic,
        Wave::Noise(NoiseColor::White),
        Wave::Noise(NoiseColor::Pink),
    ];
    let fade = Curve::new(vec![(NodeTime::from_ns(0), 0.0), (NodeTime::from_ns(10_000_000_000), 0.3)]);
    let channel = |wave| Channel { wave, carrier: steady(120.0), beat: Beat::Locked(2), amplitude: fade.clone() };
    let channels = waves.into_iter().map(channel).collect();
    Arc::new(Program { epoch: NodeTime::from_ns(0), duration: None, rhythm: steady(4.0), channels })
}

/// Renders `blocks` in which everything moves; `between` runs once, in their midst.
fn render(blocks: u32, between: impl Fn()) {
    let program = program();
    let mut renderer = Renderer::new(Arc::clone(&program), RATE).unwrap();
    let mut batch = Batch::new(Arc::clone(&program), RATE, 3).unwrap();
    let (mut left, mut right, mut rows) = ([0.0; 64], [0.0; 64], [0.0; 3 * 2 * 64]);
    let mut clock = BlockClock::nominal(NodeTime::from_ns(1), RATE);
    forbid_system_calls();
    for block in 0..blocks {
        let x = (block % 97) as f32 / 20.0 - 2.0;
        let (own, others) = ([Complex::new(x, f32::NAN); 5], [Complex::new(1.0, x); 5]);
        let input = Targets {
            others: &others,
            own: &own,
            others_glide: Span::from_ms(i64::from(block % 300)),
            offset: PhaseOffset::from_bits(i64::from(block) << 50),
            ceiling: x,
            gate_open: block % 1000 > 100,
            limit: block % 3 != 0,
        };
        let samples = 1 + (block % 64) as usize;
        if block % 16 == 0 {
            batch.render(clock, samples, |_| (&program.rhythm, input), &mut rows[..6 * samples]);
        }
        renderer.render(clock, &program.rhythm, &input, &mut left[..samples], &mut right[..samples]);
        black_box((&left, &right, &rows));
        clock = clock.after(samples);
        if block == blocks / 2 {
            between();
        }
    }
    // SAFETY: it ends the process, and nothing of it is used again.
    unsafe { libc::_exit(0) }
}

#[test]
#[ignore = "a child of the other tests: the filter would end them all"]
fn under_the_filter() {
    match std::env::var(SIN).as_deref() {
        Ok("getpid") => render(1000, || {
            // SAFETY: it takes nothing and touches nothing.
            unsafe { libc::syscall(libc::SYS_getpid) };
        }),
        Ok("futex") => render(1000, || {
            let word = 0u32;
            // SAFETY: FUTEX_WAKE only looks at the address of a word that lives through the call: what a lock's release
            // does when somebody waits for it.
            unsafe { libc::syscall(libc::SYS_futex, &raw const word, libc::FUTEX_WAKE, 1) };
        }),
        Ok("allocation") => render(1000, || drop(black_box(vec![1u8; 64 << 20]))),
        _ => render(1_000_000, || ()),
    }
}

fn child(sin: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "under_the_filter", "--ignored", "--nocapture"]).env(SIN, sin);
    command.output().unwrap().status
}

#[test]
fn a_million_blocks_call_nobody() {
    let status = child("none");
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn whoever_calls_among_them_is_killed() {
    for sin in ["getpid", "futex", "allocation"] {
        let status = child(sin);
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{sin}: {status}");
    }
}
