//! The keys under which NTS cookies are sealed, kept over a restart.
//!
//! Without them every client of a sanctuary that was restarted would get a NAK, and all of them would exchange keys at
//! once. The file is for its owner only; one that others could read is not used, because whoever read it can read the
//! time traffic of all cookies under its keys. A new key is on the disk before it seals its first cookie.
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use harmonia_core::nts::{CookieKeys, Rotation};
use harmonia_core::units::NodeTime;

use crate::answering::Answering;
use crate::entropy::Entropy;
use crate::error::IoError;
use crate::lock::lock;
use crate::state;

/// The file, and whether what is in it is what is in use.
pub(crate) struct CookieFile {
    path: PathBuf,
    entropy: Entropy,
    saved: bool,
}

impl CookieFile {
    /// The keys beside `clock_file`, without those that are too old at `now`; new ones if there are none to be used.
    ///
    /// Errors if the file cannot be read or written.
    pub(crate) fn open(clock_file: &Path, now: NodeTime) -> Result<(Self, CookieKeys), IoError> {
        let path = state::beside(clock_file, "cookies");
        let mut entropy = Entropy::new()?;
        let random = &mut |out: &mut [u8]| entropy.fill(out);
        let known = state::read_secret(&path)?.and_then(|text| CookieKeys::from_text(Rotation::default(), &text));
        let mut keys = known.unwrap_or_else(|| CookieKeys::new(Rotation::default(), now, random));
        keys.rotate_if_due(now, random);
        state::replace_secret(&path, &keys.to_text())?;
        Ok((Self { path, entropy, saved: true }, keys))
    }

    /// Replaces the sealing key of `answering` if it has served its time at `now`: in the file first. Blocks for the
    /// disk; `answering` is not held meanwhile. A disk that refuses is tried again, and no reason for an old key.
    pub(crate) fn keep(&mut self, answering: &Mutex<Answering>, now: NodeTime) {
        let mut keys = {
            let answering = lock(answering);
            if self.saved && !answering.cookies().is_due(now) {
                return;
            }
            answering.cookies().clone()
        };
        keys.rotate_if_due(now, &mut |out| self.entropy.fill(out));
        self.saved = state::replace_secret(&self.path, &keys.to_text()).is_ok();
        lock(answering).set_cookies(keys);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use harmonia_core::nts::aead::Algorithm;
    use harmonia_core::nts::Keys;
    use harmonia_core::units::Span;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("harmonia-cookies-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn clock(&self) -> PathBuf {
            self.0.join("clock")
        }

        fn file(&self) -> PathBuf {
            self.0.join("clock.cookies")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const NOW: NodeTime = NodeTime::from_ns(5);

    fn day(days: i64) -> NodeTime {
        NOW + Span::from_s(86_400 * days)
    }

    fn client() -> Keys {
        Keys::new(Algorithm::AesSivCmac256, &[1; 32], &[2; 32])
    }

    #[test]
    fn a_cookie_is_good_after_a_restart_and_nobody_else_can_read_the_keys() {
        let folder = Folder::new("restart");
        std::fs::write(folder.0.join("clock.cookies.new"), "left over, and readable").unwrap();
        let (_, keys) = CookieFile::open(&folder.clock(), NOW).unwrap();
        let cookie = Answering::new(keys).unwrap().bake(&client()).remove(0);
        assert_eq!(std::fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
        let (_, mut again) = CookieFile::open(&folder.clock(), day(2)).unwrap();
        assert_eq!(again.open(&cookie), Some(client()));
        // After a third day it would have been forgotten by a sanctuary that ran through.
        let (_, mut late) = CookieFile::open(&folder.clock(), day(3)).unwrap();
        assert_eq!(late.open(&cookie), None);
    }

    #[test]
    fn keys_that_others_could_read_and_damaged_ones_are_not_used() {
        let folder = Folder::new("readable");
        let (_, keys) = CookieFile::open(&folder.clock(), NOW).unwrap();
        let cookie = Answering::new(keys).unwrap().bake(&client()).remove(0);
        let text = std::fs::read(folder.file()).unwrap();
        std::fs::set_permissions(folder.file(), std::fs::Permissions::from_mode(0o640)).unwrap();
        let (_, mut keys) = CookieFile::open(&folder.clock(), NOW).unwrap();
        assert_eq!(keys.open(&cookie), None);
        assert_eq!(std::fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(folder.file(), &text).unwrap();
        assert_eq!(CookieFile::open(&folder.clock(), NOW).unwrap().1.open(&cookie), Some(client()));
        std::fs::write(folder.file(), &text[..50]).unwrap();
        assert_eq!(CookieFile::open(&folder.clock(), NOW).unwrap().1.open(&cookie), None);
    }

    #[test]
    fn a_new_key_is_in_the_file_when_it_seals_and_a_full_disk_keeps_no_old_one() {
        let folder = Folder::new("rotation");
        let (mut file, keys) = CookieFile::open(&folder.clock(), NOW).unwrap();
        let answering = Mutex::new(Answering::new(keys).unwrap());
        let before = std::fs::read(folder.file()).unwrap();
        file.keep(&answering, NOW);
        assert_eq!(std::fs::read(folder.file()).unwrap(), before, "not yet");
        file.keep(&answering, day(1));
        let cookie = lock(&answering).bake(&client()).remove(0);
        assert_eq!(CookieFile::open(&folder.clock(), day(1)).unwrap().1.open(&cookie), Some(client()));
        // A folder in its place cannot be replaced by a file.
        std::fs::remove_file(folder.file()).unwrap();
        std::fs::create_dir(folder.file()).unwrap();
        file.keep(&answering, day(2));
        let newest = lock(&answering).bake(&client()).remove(0);
        assert_ne!(newest[..4], cookie[..4], "rotated all the same");
        std::fs::remove_dir(folder.file()).unwrap();
        file.keep(&answering, day(2));
        assert_eq!(CookieFile::open(&folder.clock(), day(2)).unwrap().1.open(&newest), Some(client()));
    }
}
