//! A sound card through ALSA, found when it is first asked for.
//!
//! Linked at build time, ALSA would ask every machine for its headers, those too that never play a sound. Its library
//! is there wherever sound is, and its interface has not changed in twenty years; so it is loaded by name at run time,
//! and where it is missing only this says so, in one line. The functions used are those of its own "simple" path:
//! `snd_pcm_set_params` negotiates everything, `snd_pcm_writei` waits for room, `snd_pcm_delay` says how many frames
//! are still to be played. Source: the ALSA project's C library reference, PCM interface.
use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void, CStr, CString};
use std::ptr::NonNull;
use std::sync::OnceLock;

use libloading::Library;

use crate::error::IoError;

const LIBRARY: &str = "libasound.so.2";
const PLAYBACK: c_int = 0;
const INTERLEAVED: c_int = 3;
const FLOAT_LE: c_int = 14;
const S32_LE: c_int = 10;
const S16_LE: c_int = 2;

type Handle = *mut c_void;
type Quiet = extern "C" fn(*const c_char, c_int, *const c_char, c_int, *const c_char);

/// The functions of the library that are used here.
struct Alsa {
    open: unsafe extern "C" fn(*mut Handle, *const c_char, c_int, c_int) -> c_int,
    set_params: unsafe extern "C" fn(Handle, c_int, c_int, c_uint, c_uint, c_int, c_uint) -> c_int,
    get_params: unsafe extern "C" fn(Handle, *mut c_ulong, *mut c_ulong) -> c_int,
    writei: unsafe extern "C" fn(Handle, *const c_void, c_ulong) -> c_long,
    delay: unsafe extern "C" fn(Handle, *mut c_long) -> c_int,
    avail_update: unsafe extern "C" fn(Handle) -> c_long,
    recover: unsafe extern "C" fn(Handle, c_int, c_int) -> c_int,
    drain: unsafe extern "C" fn(Handle) -> c_int,
    close: unsafe extern "C" fn(Handle) -> c_int,
    strerror: unsafe extern "C" fn(c_int) -> *const c_char,
    hints: unsafe extern "C" fn(c_int, *const c_char, *mut *mut *mut c_void) -> c_int,
    hint: unsafe extern "C" fn(*const c_void, *const c_char) -> *mut c_char,
    free_hints: unsafe extern "C" fn(*mut *mut c_void) -> c_int,
    /// Keeps the functions where they are.
    _library: Library,
}

/// What the library would print on a person's screen goes nowhere: every error is returned, too.
extern "C" fn quiet(_: *const c_char, _: c_int, _: *const c_char, _: c_int, _: *const c_char) {}

impl Alsa {
    fn load() -> Result<Self, libloading::Error> {
        // SAFETY: the C library's initialisers do nothing but set up its own state.
        let library = unsafe { Library::new(LIBRARY)? };
        /// A function of the library, of the type that its place expects.
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the type to which this is inferred is the function's in ALSA's published headers, and the
                // library stays loaded for as long as the pointer: `_library` keeps it.
                *unsafe { library.get(concat!($name, "\0").as_bytes())? }
            };
        }
        let silence: unsafe extern "C" fn(Quiet) -> c_int = function!("snd_lib_error_set_handler");
        // SAFETY: the handler that ALSA calls has further arguments, variadic ones; a C callee that takes the first five
        // and ignores the rest is called alike under the System V and the AArch64 Linux conventions.
        unsafe { silence(quiet) };
        Ok(Self {
            open: function!("snd_pcm_open"),
            set_params: function!("snd_pcm_set_params"),
            get_params: function!("snd_pcm_get_params"),
            writei: function!("snd_pcm_writei"),
            delay: function!("snd_pcm_delay"),
            avail_update: function!("snd_pcm_avail_update"),
            recover: function!("snd_pcm_recover"),
            drain: function!("snd_pcm_drain"),
            close: function!("snd_pcm_close"),
            strerror: function!("snd_strerror"),
            hints: function!("snd_device_name_hint"),
            hint: function!("snd_device_name_get_hint"),
            free_hints: function!("snd_device_name_free_hint"),
            _library: library,
        })
    }

    /// The library, loaded once. Errors where there is none.
    fn get() -> Result<&'static Self, IoError> {
        static LOADED: OnceLock<Result<Alsa, String>> = OnceLock::new();
        let loaded = LOADED.get_or_init(|| Self::load().map_err(|error| error.to_string()));
        loaded.as_ref().map_err(|reason| IoError::NoAlsa { reason: reason.clone() })
    }

    fn said(&self, code: c_int) -> String {
        // SAFETY: snd_strerror returns a static string for every number.
        unsafe { CStr::from_ptr((self.strerror)(code)) }.to_string_lossy().into_owned()
    }
}

/// A device that can be named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceName {
    /// What to give as its name.
    pub name: String,
    /// What it is, in ALSA's words.
    pub description: String,
}

/// The devices that play sound. Errors where ALSA is not installed.
pub fn devices() -> Result<Vec<DeviceName>, IoError> {
    let alsa = Alsa::get()?;
    let mut hints = std::ptr::null_mut();
    // SAFETY: `hints` lives through the call, which writes a list into it or fails.
    let code = unsafe { (alsa.hints)(-1, c"pcm".as_ptr(), &mut hints) };
    if code < 0 {
        return Err(IoError::Device { name: "(any)".into(), reason: alsa.said(code) });
    }
    let text = |hint: *const c_void, id: &CStr| {
        // SAFETY: `hint` is an entry of the list that is freed below, `id` a terminated string; the answer is null or a
        // terminated string from malloc that is ours to free.
        unsafe {
            let text = (alsa.hint)(hint, id.as_ptr());
            let owned = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
            libc::free(text.cast());
            owned
        }
    };
    let mut found = Vec::new();
    for i in 0.. {
        // SAFETY: the list ends with a null pointer, at which this loop ends.
        let hint = unsafe { *hints.add(i) };
        if hint.is_null() {
            break;
        }
        let plays = text(hint, c"IOID").is_none_or(|direction| direction == "Output");
        if let Some(name) = text(hint, c"NAME").filter(|_| plays) {
            let description = text(hint, c"DESC").unwrap_or_default().replace('\n', ", ");
            found.push(DeviceName { name, description });
        }
    }
    // SAFETY: the list came from snd_device_name_hint and is not used any more.
    unsafe { (alsa.free_hints)(hints) };
    Ok(found)
}

/// What became of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// It is queued.
    Whole,
    /// The card had run dry before it came. It is queued, after the gap.
    AfterUnderrun,
}

/// What plays: a card through ALSA, or one that a test makes up.
pub(crate) trait Sink {
    /// Frames that are queued at most.
    fn buffer(&self) -> u64;
    /// Queues interleaved samples, waiting for room where the device waits. Errors once the device is lost.
    fn write(&mut self, interleaved: &[f32]) -> Result<Written, IoError>;
    /// Frames that were written and are not played yet; `None` while the device does not say.
    fn delay(&self) -> Option<u64>;
    /// Frames for which there is room at once.
    fn room(&self) -> u64;
    /// Waits until everything is played.
    fn drain(&mut self);
}

/// An open device that plays stereo samples. Blocks where ALSA blocks.
pub(crate) struct Pcm {
    alsa: &'static Alsa,
    handle: NonNull<c_void>,
    name: String,
    format: c_int,
    buffer: u64,
    bytes: Vec<u8>,
}

// SAFETY: ALSA allows a handle to be used from any one thread at a time, and `&mut self` or ownership guards that.
unsafe impl Send for Pcm {}

impl Pcm {
    /// Opens `name` at `sample_rate`, with about `buffer_us` of queue. Errors say what ALSA says, and what to do.
    pub(crate) fn open(name: &str, sample_rate: u32, buffer_us: u32) -> Result<Self, IoError> {
        let alsa = Alsa::get()?;
        let refused = |reason: String| IoError::Device { name: name.to_owned(), reason };
        let c_name = CString::new(name).map_err(|_| refused("a name holds no zero byte".into()))?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: both pointers live through the call, which writes a handle or fails.
        let code = unsafe { (alsa.open)(&mut handle, c_name.as_ptr(), PLAYBACK, 0) };
        let Some(handle) = NonNull::new(handle).filter(|_| code >= 0) else { return Err(refused(alsa.said(code))) };
        let mut pcm = Self { alsa, handle, name: name.to_owned(), format: FLOAT_LE, buffer: 0, bytes: Vec::new() };
        let mut code = 0;
        for format in [FLOAT_LE, S32_LE, S16_LE] {
            pcm.format = format;
            // SAFETY: the handle is open. 1: ALSA may resample where the card has another rate.
            code = unsafe { (alsa.set_params)(handle.as_ptr(), format, INTERLEAVED, 2, sample_rate, 1, buffer_us) };
            if code >= 0 {
                break;
            }
        }
        let (mut buffer, mut period) = (0, 0);
        if code >= 0 {
            // SAFETY: the handle is open and configured; both numbers live through the call.
            code = unsafe { (alsa.get_params)(handle.as_ptr(), &mut buffer, &mut period) };
        }
        if code < 0 {
            return Err(refused(format!("it does not play stereo at {sample_rate} Hz: {}", alsa.said(code))));
        }
        pcm.buffer = buffer;
        Ok(pcm)
    }

    /// Puts the samples as the device takes them into `bytes`; returns the bytes of a frame.
    fn encode(&mut self, interleaved: &[f32]) -> usize {
        self.bytes.clear();
        match self.format {
            FLOAT_LE => interleaved.iter().for_each(|x| self.bytes.extend_from_slice(&x.to_le_bytes())),
            S32_LE => interleaved.iter().for_each(|x| {
                let scaled = (f64::from(*x) * f64::from(i32::MAX)).round() as i32;
                self.bytes.extend_from_slice(&scaled.to_le_bytes());
            }),
            _ => interleaved.iter().for_each(|x| {
                let scaled = (*x * f32::from(i16::MAX)).round() as i16;
                self.bytes.extend_from_slice(&scaled.to_le_bytes());
            }),
        }
        self.bytes.len() * 2 / interleaved.len().max(1)
    }
}

impl Sink for Pcm {
    fn buffer(&self) -> u64 {
        self.buffer
    }

    fn write(&mut self, interleaved: &[f32]) -> Result<Written, IoError> {
        let frame_bytes = self.encode(interleaved);
        let (mut done, mut result, mut failures) = (0, Written::Whole, 0);
        while done < self.bytes.len() {
            let rest = &self.bytes[done..];
            // SAFETY: `rest` holds so many whole frames of the negotiated format, and lives through the call.
            let code = unsafe {
                (self.alsa.writei)(self.handle.as_ptr(), rest.as_ptr().cast(), (rest.len() / frame_bytes) as c_ulong)
            };
            if code >= 0 {
                done += code as usize * frame_bytes;
                continue;
            }
            failures += 1;
            if code == -c_long::from(libc::EPIPE) {
                result = Written::AfterUnderrun;
            }
            // SAFETY: the handle is open. 1: silently.
            let recovered = unsafe { (self.alsa.recover)(self.handle.as_ptr(), code as c_int, 1) };
            if recovered < 0 || failures > 3 {
                let reason = format!("lost: {}", self.alsa.said(code as c_int));
                return Err(IoError::Device { name: self.name.clone(), reason });
            }
        }
        Ok(result)
    }

    fn delay(&self) -> Option<u64> {
        let mut frames = 0;
        // SAFETY: the handle is open; `frames` lives through the call.
        let code = unsafe { (self.alsa.delay)(self.handle.as_ptr(), &mut frames) };
        (code >= 0).then_some(frames.max(0) as u64)
    }

    fn room(&self) -> u64 {
        // SAFETY: the handle is open.
        unsafe { (self.alsa.avail_update)(self.handle.as_ptr()) }.max(0) as u64
    }

    fn drain(&mut self) {
        // SAFETY: the handle is open.
        unsafe { (self.alsa.drain)(self.handle.as_ptr()) };
    }
}

impl Drop for Pcm {
    fn drop(&mut self) {
        // SAFETY: the handle is open and not used after this.
        unsafe { (self.alsa.close)(self.handle.as_ptr()) };
    }
}
