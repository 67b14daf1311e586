//! A UDP socket that receives and sends in batches and says when the kernel saw each datagram.
//!
//! One system call for up to [`BATCH`] datagrams, and the receive time from the kernel rather than from whenever the
//! thread was scheduled: on a busy machine that is the difference between microseconds and milliseconds.
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use crate::os::{raw_ns, Bracket};

/// Datagrams a system call.
pub const BATCH: usize = 64;
/// Longer datagrams than any of ours are cut off, and then refused as malformed.
const LEN_MAX: usize = 1500;
const CONTROL_LEN: usize = 64;

/// A datagram as it arrived.
pub struct Datagram<'a> {
    /// Its bytes.
    pub bytes: &'a mut [u8],
    /// Who sent it, if one believes the header.
    pub from: SocketAddr,
    /// When the kernel received it, on the raw clock.
    pub raw_ns: i64,
    /// How far `raw_ns` may be off.
    pub stamp_error_ns: i64,
}

impl Datagram<'_> {
    /// The latest instant at which it can have arrived, on the raw clock. A server that states this one never states an
    /// arrival before the fact, so the error of the stamp only widens what its clients hold for certain.
    pub fn latest_raw_ns(&self) -> i64 {
        self.raw_ns.saturating_add(self.stamp_error_ns).min(raw_ns())
    }
}

/// Room for one batch.
pub struct Batch {
    buffers: Box<[[u8; LEN_MAX]; BATCH]>,
    controls: Box<[Control; BATCH]>,
    addresses: Box<[libc::sockaddr_storage; BATCH]>,
    lens: [usize; BATCH],
    control_lens: [usize; BATCH],
    count: usize,
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_LEN]);

impl Default for Batch {
    fn default() -> Self {
        Self {
            buffers: vec![[0; LEN_MAX]; BATCH].try_into().expect("BATCH buffers"),
            controls: Box::new([Control([0; CONTROL_LEN]); BATCH]),
            // SAFETY: an all-zero sockaddr_storage is a valid one, of family AF_UNSPEC.
            addresses: Box::new([unsafe { zeroed() }; BATCH]),
            lens: [0; BATCH],
            control_lens: [0; BATCH],
            count: 0,
        }
    }
}

impl Batch {
    /// The datagrams of the last receive, oldest first.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Datagram<'_>> {
        let (now, bracket) = (raw_ns(), Bracket::take());
        let count = self.count;
        let (lens, control_lens) = (self.lens, self.control_lens);
        let addresses = &self.addresses;
        let controls = &self.controls;
        self.buffers.iter_mut().take(count).enumerate().filter_map(move |(i, buffer)| {
            let from = to_socket_addr(&addresses[i])?;
            let stamp = kernel_stamp(&controls[i].0[..control_lens[i]]).and_then(|ns| bracket.to_raw(ns));
            let (raw_ns, stamp_error_ns) = stamp.unwrap_or((now, 0));
            Some(Datagram { bytes: &mut buffer[..lens[i]], from, raw_ns, stamp_error_ns })
        })
    }
}

/// A non-blocking UDP socket with kernel receive stamps.
pub struct Socket {
    udp: UdpSocket,
}

impl Socket {
    /// Binds `address`.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let udp = UdpSocket::bind(address)?;
        udp.set_nonblocking(true)?;
        let on: libc::c_int = 1;
        let room: libc::c_int = 4 << 20;
        set_option(&udp, libc::SO_TIMESTAMPNS, on)?;
        // A storm of a few thousand datagrams must wait rather than be dropped; the kernel caps this as it likes.
        set_option(&udp, libc::SO_RCVBUF, room)?;
        set_option(&udp, libc::SO_SNDBUF, room)?;
        Ok(Self { udp })
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// Sends one datagram. Realtime-safe but for the system call.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.udp.send_to(bytes, to).map(drop)
    }

    /// Receives what is there, up to a batch, without waiting. Returns how many.
    pub fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        // SAFETY: all-zero iovec and mmsghdr are valid; every pointer set below stays valid through the call because
        // `batch` is borrowed mutably for it.
        let mut iovecs: [libc::iovec; BATCH] = unsafe { zeroed() };
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for i in 0..BATCH {
            iovecs[i] = libc::iovec { iov_base: batch.buffers[i].as_mut_ptr().cast(), iov_len: LEN_MAX };
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut batch.addresses[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut iovecs[i];
            header.msg_iovlen = 1;
            header.msg_control = batch.controls[i].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_LEN as _;
        }
        batch.count = 0;
        // SAFETY: `headers` holds BATCH valid headers whose buffers outlive the call; a null time-out is allowed.
        let received = unsafe {
            libc::recvmmsg(
                self.udp.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as _,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            // ECONNREFUSED: an earlier answer met a closed port; it says nothing of what waits here.
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => Ok(0),
                _ => Err(error),
            };
        }
        batch.count = received as usize;
        for (i, header) in headers.iter().enumerate().take(batch.count) {
            batch.lens[i] = (header.msg_len as usize).min(LEN_MAX);
            batch.control_lens[i] = header.msg_hdr.msg_controllen.min(CONTROL_LEN);
        }
        Ok(batch.count)
    }

    /// Sends all `items`, in as few system calls as they need. What the kernel refuses is dropped: frames are never
    /// sent twice, and cuts repeat themselves. Returns how many were handed over.
    pub fn send_batch(&self, items: &[(SocketAddr, &[u8])]) -> usize {
        let mut sent = 0;
        for chunk in items.chunks(BATCH) {
            // SAFETY: all-zero values are valid for each of these types; the pointers set below refer to locals and to
            // `chunk`, which outlive the call. sendmmsg does not write through iov_base.
            let mut iovecs: [libc::iovec; BATCH] = unsafe { zeroed() };
            let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
            let mut addresses: [libc::sockaddr_storage; BATCH] = unsafe { zeroed() };
            for (i, (to, bytes)) in chunk.iter().enumerate() {
                iovecs[i] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
                let header = &mut headers[i].msg_hdr;
                header.msg_namelen = from_socket_addr(*to, &mut addresses[i]);
                header.msg_name = (&raw mut addresses[i]).cast();
                header.msg_iov = &raw mut iovecs[i];
                header.msg_iovlen = 1;
            }
            let mut start = 0;
            while start < chunk.len() {
                // SAFETY: headers[start..chunk.len()] are valid and filled above.
                let done = unsafe {
                    libc::sendmmsg(
                        self.udp.as_raw_fd(),
                        headers[start..].as_mut_ptr(),
                        (chunk.len() - start) as _,
                        libc::MSG_DONTWAIT as _,
                    )
                };
                // An error belongs to the first of the rest: leave that one out and go on.
                let done = if done > 0 { done as usize } else { 0 };
                sent += done;
                start += done.max(1);
            }
        }
        sent
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.udp.as_raw_fd()
    }
}

/// Waits until one of `fds` can be read, at most for `timeout`; returns which can.
pub fn wait_readable(fds: &[RawFd], timeout: Duration) -> io::Result<Vec<bool>> {
    let mut polls: Vec<_> = fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    let limit = libc::timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos().into() };
    // SAFETY: `polls` and `limit` are valid for the call; a null signal mask leaves the mask as it is.
    let ready = unsafe { libc::ppoll(polls.as_mut_ptr(), polls.len() as _, &limit, std::ptr::null()) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(polls.iter().map(|poll| ready > 0 && poll.revents != 0).collect())
}

fn set_option(udp: &UdpSocket, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: `value` is a c_int of the stated length and lives through the call.
    let failed = unsafe {
        libc::setsockopt(
            udp.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The SCM_TIMESTAMPNS among the control messages, in nanoseconds of CLOCK_REALTIME.
fn kernel_stamp(control: &[u8]) -> Option<i64> {
    const HEAD: usize = size_of::<libc::cmsghdr>();
    let mut rest = control;
    while rest.len() >= HEAD {
        // SAFETY: `rest` holds at least a cmsghdr; read_unaligned needs no alignment.
        let head: libc::cmsghdr = unsafe { rest.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
        let len = head.cmsg_len;
        let data = rest.get(HEAD..len)?;
        if (head.cmsg_level, head.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            if data.len() < size_of::<libc::timespec>() {
                return None;
            }
            // SAFETY: the length was checked; read_unaligned needs no alignment, and any bits are a valid timespec.
            let ts: libc::timespec = unsafe { data.as_ptr().cast::<libc::timespec>().read_unaligned() };
            return Some(ts.tv_sec * 1_000_000_000 + ts.tv_nsec);
        }
        rest = rest.get(len.next_multiple_of(size_of::<usize>())..)?;
    }
    None
}

fn to_socket_addr(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in, which is smaller than the storage.
            let v4 = unsafe { *(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a sockaddr_in6, which is smaller than the storage.
            let v6 = unsafe { *(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn from_socket_addr(address: SocketAddr, storage: &mut libc::sockaddr_storage) -> libc::socklen_t {
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: a sockaddr_storage has room and alignment for every socket address.
            let out = unsafe { &mut *(&raw mut *storage).cast::<libc::sockaddr_in>() };
            out.sin_family = libc::AF_INET as _;
            out.sin_port = v4.port().to_be();
            out.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            size_of::<libc::sockaddr_in>() as _
        }
        SocketAddr::V6(v6) => {
            // SAFETY: a sockaddr_storage has room and alignment for every socket address.
            let out = unsafe { &mut *(&raw mut *storage).cast::<libc::sockaddr_in6>() };
            out.sin6_family = libc::AF_INET6 as _;
            out.sin6_port = v6.port().to_be();
            out.sin6_addr.s6_addr = v6.ip().octets();
            out.sin6_flowinfo = v6.flowinfo();
            out.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>() as _
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(host: &str) {
        let a = Socket::bind(format!("{host}:0").parse().unwrap()).unwrap();
        let b = Socket::bind(format!("{host}:0").parse().unwrap()).unwrap();
        let to = b.local_addr().unwrap();
        let payloads: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i; 1 + usize::from(i)]).collect();
        let items: Vec<_> = payloads.iter().map(|p| (to, p.as_slice())).collect();
        let before = raw_ns();
        assert_eq!(a.send_batch(&items), 100);
        let mut batch = Batch::default();
        let mut got = Vec::new();
        while got.len() < 100 {
            wait_readable(&[b.as_raw_fd()], Duration::from_secs(60)).unwrap();
            b.receive(&mut batch).unwrap();
            for datagram in batch.datagrams() {
                assert_eq!(datagram.from, a.local_addr().unwrap());
                assert!(datagram.raw_ns + datagram.stamp_error_ns >= before, "received before it was sent");
                assert!(datagram.raw_ns - datagram.stamp_error_ns <= raw_ns(), "received in the future");
                assert!(datagram.stamp_error_ns > 0, "a kernel stamp, not a reading of ours");
                let latest = datagram.latest_raw_ns();
                assert!(
                    latest > datagram.raw_ns && latest <= raw_ns(),
                    "late by the stamp's error, never in the future"
                );
                got.push(datagram.bytes.to_vec());
            }
        }
        assert_eq!(got, payloads);
    }

    #[test]
    fn batches_arrive_whole_in_order_and_stamped_over_ipv4() {
        exchange("127.0.0.1");
    }

    #[test]
    fn batches_arrive_whole_in_order_and_stamped_over_ipv6() {
        if UdpSocket::bind("[::1]:0").is_err() {
            eprintln!("skipped: this machine has no IPv6 loopback");
            return;
        }
        exchange("[::1]");
    }

    #[test]
    fn waiting_ends_without_a_datagram() {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(wait_readable(&[socket.as_raw_fd()], Duration::from_millis(1)).unwrap(), [false]);
        assert_eq!(socket.receive(&mut Batch::default()).unwrap(), 0);
    }

    #[test]
    fn garbage_control_messages_are_no_stamp_and_no_loop() {
        for control in [vec![0; 64], vec![0xff; 64], vec![1; 15], vec![]] {
            assert_eq!(kernel_stamp(&control), None);
        }
    }
}
