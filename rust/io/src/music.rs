//! Recordings from files: FLAC, WAV and Ogg Vorbis, decoded whole and named by their hash.
//!
//! Two houses that play the same score must play the same recording, and a file's name says nothing about that: so what
//! was read comes with the SHA-256 of its bytes. It is decoded once, before the night, into memory; a renderer may not
//! wait for a disk. What kind of file it is, its first bytes say, not its name.
//!
//! A gain that the file recommends (the ReplayGain tag of FLAC and Ogg) is applied, as the players that `.sbg` files are
//! written for do, so that one recording can stand for another.
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use harmonia_core::stem::{Pcm, FRAMES_MAX};
use sha2::{Digest, Sha256};

use crate::error::IoError;

/// The largest file, in bytes: an hour of 24-bit stereo at 96 kHz is 2 GB, and four of 16 bits at 48 kHz are.
pub const BYTES_MAX: u64 = 1 << 31;
/// The largest gain that is believed, in dB.
const GAIN_MAX_DB: f32 = 24.0;

/// A recording, and which it is.
#[derive(Clone, Debug)]
pub struct Music {
    /// What is played.
    pub pcm: Arc<Pcm>,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
}

/// The decoded samples of a file, interleaved.
struct Decoded {
    rate: u32,
    channels: usize,
    samples: Vec<f32>,
    gain_db: f32,
}

/// SHA-256 of a file. Errors if it cannot be read.
pub fn hash(path: &Path) -> Result<[u8; 32], IoError> {
    let mut file = File::open(path).map_err(IoError::file(path))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(IoError::file(path))? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Reads and decodes a file. Errors if it cannot be read, or is no recording that can be played.
pub fn load(path: &Path) -> Result<Music, IoError> {
    let refuse = |reason: String| IoError::Music { path: path.into(), reason };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(IoError::file(path))?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(IoError::file(path))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(refuse(format!("it is larger than {} MB", BYTES_MAX >> 20)));
    }
    let sha256 = Sha256::digest(&bytes).into();
    let decoded = match bytes.get(..4) {
        Some(b"fLaC") => flac(&bytes),
        Some(b"RIFF") => wav(&bytes),
        Some(b"OggS") => ogg(&bytes),
        _ => Err("it is neither FLAC, WAV nor Ogg Vorbis; convert it, for instance with 'flac FILE.wav'".into()),
    };
    let Decoded { rate, channels, samples, gain_db } = decoded.map_err(refuse)?;
    let refuse = |reason: String| IoError::Music { path: path.into(), reason };
    if !(1..=2).contains(&channels) {
        return Err(refuse(format!("it has {channels} channels; one or two can be played")));
    }
    let gain = 10f32.powf(gain_db.clamp(-GAIN_MAX_DB, GAIN_MAX_DB) / 20.0);
    let ear = |ear: usize| samples.chunks_exact(channels).map(|frame| frame[ear.min(channels - 1)] * gain).collect();
    let pcm = Pcm::new(rate, ear(0), ear(1)).map_err(|error| refuse(error.to_string()))?;
    Ok(Music { pcm: Arc::new(pcm), sha256 })
}

/// Refuses what would not fit into memory before it is decoded.
fn fits(frames: u64) -> Result<(), String> {
    if frames > FRAMES_MAX as u64 {
        return Err(format!("it has {frames} frames; {FRAMES_MAX} can be played"));
    }
    Ok(())
}

fn flac(bytes: &[u8]) -> Result<Decoded, String> {
    let damaged = |error: claxon::Error| format!("it is no FLAC that can be read: {error}");
    let mut reader = claxon::FlacReader::new(Cursor::new(bytes)).map_err(damaged)?;
    let info = reader.streaminfo();
    fits(info.samples.unwrap_or(0))?;
    let gain_db = reader.get_tag("REPLAYGAIN_TRACK_GAIN").next().map_or(0.0, decibels);
    let scale = 1.0 / (1u64 << (info.bits_per_sample - 1)) as f32;
    let channels = info.channels as usize;
    let mut samples = Vec::new();
    for sample in reader.samples() {
        samples.push(sample.map_err(damaged)? as f32 * scale);
        fits((samples.len() / channels.max(1)) as u64)?;
    }
    Ok(Decoded { rate: info.sample_rate, channels, samples, gain_db })
}

fn wav(bytes: &[u8]) -> Result<Decoded, String> {
    let damaged = |error: hound::Error| format!("it is no WAV that can be read: {error}");
    let reader = hound::WavReader::new(Cursor::new(bytes)).map_err(damaged)?;
    let spec = reader.spec();
    fits(u64::from(reader.duration()))?;
    let scale = 1.0 / (1u64 << (spec.bits_per_sample.clamp(1, 32) - 1)) as f32;
    let samples: Result<Vec<f32>, _> = match spec.sample_format {
        hound::SampleFormat::Float => reader.into_samples::<f32>().collect(),
        hound::SampleFormat::Int => {
            reader.into_samples::<i32>().map(|sample| sample.map(|sample| sample as f32 * scale)).collect()
        }
    };
    let channels = usize::from(spec.channels);
    Ok(Decoded { rate: spec.sample_rate, channels, samples: samples.map_err(damaged)?, gain_db: 0.0 })
}

fn ogg(bytes: &[u8]) -> Result<Decoded, String> {
    let damaged = |error: lewton::VorbisError| format!("it is no Ogg Vorbis that can be read: {error}");
    let mut reader = lewton::inside_ogg::OggStreamReader::new(Cursor::new(bytes)).map_err(damaged)?;
    let channels = usize::from(reader.ident_hdr.audio_channels);
    let tag = reader.comment_hdr.comment_list.iter().find(|(key, _)| key.eq_ignore_ascii_case("REPLAYGAIN_TRACK_GAIN"));
    let gain_db = tag.map_or(0.0, |(_, value)| decibels(value));
    let mut samples = Vec::new();
    while let Some(packet) = reader.read_dec_packet_itl().map_err(damaged)? {
        samples.extend(packet.into_iter().map(|sample| f32::from(sample) / 32_768.0));
        fits((samples.len() / channels.max(1)) as u64)?;
    }
    Ok(Decoded { rate: reader.ident_hdr.audio_sample_rate, channels, samples, gain_db })
}

/// `-6.20 dB` as a number; 0 if it is none.
fn decibels(text: &str) -> f32 {
    let number = text.split_whitespace().next().and_then(|number| number.parse().ok());
    number.filter(|db: &f32| db.is_finite()).unwrap_or(0.0)
}

#[cfg(test)]
mod laws {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("harmonia-music-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn write(path: &Path, spec: hound::WavSpec, samples: impl Iterator<Item = i32>) {
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        samples.for_each(|sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
    }

    #[test]
    fn what_was_recorded_is_what_is_read() {
        let folder = folder("read");
        for (bits, channels) in [(16, 2), (24, 2), (16, 1)] {
            let path = folder.join(format!("{bits}-{channels}.wav"));
            let spec = hound::WavSpec {
                channels,
                sample_rate: 44_100,
                bits_per_sample: bits,
                sample_format: hound::SampleFormat::Int,
            };
            let full = 1i32 << (bits - 1);
            write(&path, spec, (0..2000).map(|i| if i % 2 == 0 { full / 2 } else { -full / 4 }));
            let music = load(&path).unwrap();
            assert_eq!((music.pcm.rate(), music.pcm.frames()), (44_100, 2000 / usize::from(channels)));
            assert_eq!(music.sha256, hash(&path).unwrap());
            assert_eq!(music.sha256, <[u8; 32]>::from(Sha256::digest(std::fs::read(&path).unwrap())));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_recording_is_refused_in_words() {
        let folder = folder("refuse");
        let spec = hound::WavSpec {
            channels: 3,
            sample_rate: 48_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        write(&folder.join("three.wav"), spec, 0..9);
        write(&folder.join("empty.wav"), hound::WavSpec { channels: 2, ..spec }, 0..0);
        for (name, bytes) in [
            ("text", b"hello, this is text".as_slice()),
            ("a", b"fLaC and no more"),
            ("b", b"RIFFzzzz"),
            ("c", b"OggSxxxx"),
        ] {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        for (name, says) in [
            ("three.wav", "3 channels"),
            ("empty.wav", "1 to"),
            ("text", "neither FLAC"),
            ("a", "no FLAC"),
            ("b", "no WAV"),
            ("c", "no Ogg"),
            ("nowhere", "cannot use"),
        ] {
            let message = load(&folder.join(name)).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_recommended_gain_is_read() {
        for (text, db) in [("-6.20 dB", -6.2), ("+3 dB", 3.0), ("loud", 0.0), ("", 0.0), ("nan", 0.0)] {
            assert_eq!(decibels(text), db, "{text}");
        }
    }
}
