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
    /// The latest instant at which it can have arrived, on the raw clock. A server that states this one never states an
    /// arrival before the fact, so the error of the stamp only widens what its clients hold for certain.
    pub latest_raw_ns: i64,
}

/// Room for one batch, made once: receiving and answering allocate nothing.
pub struct Batch {
    buffers: Box<[[u8; LEN_MAX]; BATCH]>,
    addresses: Box<[libc::sockaddr_storage; BATCH]>,
    /// Written by the kernel through `headers`; never read by name.
    controls: Box<[Control; BATCH]>,
    iovecs: Box<[libc::iovec; BATCH]>,
    /// For receiving: header i points at buffer, address and control i.
    headers: Box<[libc::mmsghdr; BATCH]>,
    /// For answering: as many as there are answers, each pointing at its datagram's buffer and address.
    answers: Box<[libc::mmsghdr; BATCH]>,
    answers_len: usize,
    count: usize,
    bracket: Bracket,
    now_raw_ns: i64,
}

// SAFETY: the pointers in `iovecs`, `headers` and `answers` point into the boxes of the same batch, which do not move
// when it does, and are followed only while it is borrowed mutably.
unsafe impl Send for Batch {}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_LEN]);

impl Default for Batch {
    fn default() -> Self {
        // SAFETY: all-zero values are valid for each of these types: no address, no bytes, null pointers.
        let mut batch = unsafe {
            Self {
                buffers: vec![[0; LEN_MAX]; BATCH].try_into().expect("BATCH buffers"),
                addresses: Box::new([zeroed(); BATCH]),
                controls: Box::new([Control([0; CONTROL_LEN]); BATCH]),
                iovecs: Box::new([zeroed(); BATCH]),
                headers: Box::new([zeroed(); BATCH]),
                answers: Box::new([zeroed(); BATCH]),
                answers_len: 0,
                count: 0,
                bracket: Bracket::take(),
                now_raw_ns: 0,
            }
        };
        for i in 0..BATCH {
            batch.iovecs[i] = libc::iovec { iov_base: batch.buffers[i].as_mut_ptr().cast(), iov_len: LEN_MAX };
            let header = &mut batch.headers[i].msg_hdr;
            header.msg_name = (&raw mut batch.addresses[i]).cast();
            header.msg_iov = &raw mut batch.iovecs[i];
            header.msg_iovlen = 1;
            header.msg_control = batch.controls[i].0.as_mut_ptr().cast();
        }
        batch
    }
}

impl Batch {
    /// How many datagrams the last receive brought.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it brought none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The length of the `i`-th datagram, of those that there are.
    pub fn len_of(&self, i: usize) -> usize {
        (self.headers[..self.count][i].msg_len as usize).min(LEN_MAX)
    }

    /// The bytes of the `i`-th datagram, of those that there are.
    pub fn bytes(&self, i: usize) -> &[u8] {
        &self.buffers[i][..self.len_of(i)]
    }

    /// The `i`-th datagram of the last receive; `None` if there is none, or its sender is of no known family.
    pub fn datagram(&mut self, i: usize) -> Option<Datagram<'_>> {
        let header = self.headers[..self.count].get(i)?;
        let arrival = Arrival { bracket: self.bracket, now_raw_ns: self.now_raw_ns };
        arrival.datagram(header, &self.addresses[i], &self.controls[i], &mut self.buffers[i])
    }

    /// The datagrams of the last receive, oldest first.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Datagram<'_>> {
        let arrival = Arrival { bracket: self.bracket, now_raw_ns: self.now_raw_ns };
        let about = self.headers[..self.count].iter().zip(self.addresses.iter()).zip(self.controls.iter());
        about
            .zip(self.buffers.iter_mut())
            .filter_map(move |(((header, from), control), buffer)| arrival.datagram(header, from, control, buffer))
    }

    /// The first `len` bytes of the `i`-th datagram's buffer are to go back to its sender.
    pub fn answer(&mut self, i: usize, len: usize) {
        debug_assert!(i < self.count && len <= LEN_MAX && self.answers_len < BATCH);
        self.iovecs[i].iov_len = len;
        let from = &self.headers[i].msg_hdr;
        let header = &mut self.answers[self.answers_len].msg_hdr;
        (header.msg_name, header.msg_namelen) = (from.msg_name, from.msg_namelen);
        (header.msg_iov, header.msg_iovlen) = (from.msg_iov, 1);
        self.answers_len += 1;
    }

    /// Room for an answer to the `i`-th datagram, over its own bytes.
    pub fn room(&mut self, i: usize) -> &mut [u8] {
        &mut self.buffers[i]
    }
}

/// When a batch was received.
#[derive(Clone, Copy)]
struct Arrival {
    bracket: Bracket,
    now_raw_ns: i64,
}

impl Arrival {
    fn datagram<'a>(
        self,
        header: &libc::mmsghdr,
        from: &libc::sockaddr_storage,
        control: &Control,
        buffer: &'a mut [u8; LEN_MAX],
    ) -> Option<Datagram<'a>> {
        let from = to_socket_addr(from)?;
        let control = &control.0[..header.msg_hdr.msg_controllen.min(CONTROL_LEN)];
        let stamp = kernel_stamp(control).and_then(|ns| self.bracket.to_raw(ns));
        let (raw_ns, stamp_error_ns) = stamp.unwrap_or((self.now_raw_ns, 0));
        let latest_raw_ns = raw_ns.saturating_add(stamp_error_ns).min(self.now_raw_ns);
        let len = (header.msg_len as usize).min(LEN_MAX);
        Some(Datagram { bytes: &mut buffer[..len], from, raw_ns, stamp_error_ns, latest_raw_ns })
    }
}

/// A non-blocking UDP socket with kernel receive stamps.
pub struct Socket {
    udp: UdpSocket,
}

impl Socket {
    /// Binds `address`.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Self::bind_bare(address)?;
        set_option(&socket.udp, libc::SO_TIMESTAMPNS, 1)?;
        Ok(socket)
    }

    /// Binds `address` without asking for stamps.
    pub fn bind_bare(address: SocketAddr) -> io::Result<Self> {
        let udp = UdpSocket::bind(address)?;
        udp.set_nonblocking(true)?;
        let room: libc::c_int = 4 << 20;
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

    /// Receives what is there, up to a batch, without waiting. Returns how many. Allocates nothing.
    pub fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        let count = self.receive_unstamped(batch)?;
        if count > 0 {
            batch.bracket = Bracket::take();
            batch.now_raw_ns = raw_ns();
        }
        Ok(count)
    }

    /// As [`Socket::receive`], for those who do not care when: datagrams carry no usable stamps.
    pub fn receive_unstamped(&self, batch: &mut Batch) -> io::Result<usize> {
        (batch.count, batch.answers_len) = (0, 0);
        for (header, iovec) in batch.headers.iter_mut().zip(batch.iovecs.iter_mut()) {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_LEN as _;
            iovec.iov_len = LEN_MAX;
        }
        // SAFETY: `headers` holds BATCH valid headers that point into `batch`, which is borrowed mutably for the call; a
        // null time-out is allowed.
        let received = unsafe {
            libc::recvmmsg(
                self.udp.as_raw_fd(),
                batch.headers.as_mut_ptr(),
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
        Ok(batch.count)
    }

    /// Sends the answers of a batch; returns how many were handed over. What the kernel refuses is dropped. Allocates
    /// nothing.
    pub fn send_answers(&self, batch: &mut Batch) -> usize {
        let len = std::mem::take(&mut batch.answers_len);
        // SAFETY: the first `len` answers were filled by `Batch::answer` with pointers into `batch`.
        unsafe { self.send_headers(&mut batch.answers[..len]) }
    }

    /// # Safety
    /// The headers and everything that they point at must be valid. The kernel writes nothing but `msg_len`.
    unsafe fn send_headers(&self, headers: &mut [libc::mmsghdr]) -> usize {
        let (mut sent, mut start) = (0, 0);
        while start < headers.len() {
            let rest = &mut headers[start..];
            // SAFETY: the caller's promise.
            let done = unsafe {
                libc::sendmmsg(self.udp.as_raw_fd(), rest.as_mut_ptr(), rest.len() as _, libc::MSG_DONTWAIT as _)
            };
            // An error belongs to the first of the rest: leave that one out and go on.
            let done = if done > 0 { done as usize } else { 0 };
            sent += done;
            start += done.max(1);
        }
        sent
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
            // SAFETY: as many headers as the chunk has items were filled above.
            sent += unsafe { self.send_headers(&mut headers[..chunk.len()]) };
        }
        sent
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.udp.as_raw_fd()
    }
}

/// Waits until `fd` can be read, at most for `timeout`; returns whether it can. Allocates nothing.
pub fn wait_readable_one(fd: RawFd, timeout: Duration) -> io::Result<bool> {
    let mut polls = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
    Ok(poll(&mut polls, timeout)? && polls[0].revents != 0)
}

/// Waits until one of `fds` can be read, at most for `timeout`; returns which can.
pub fn wait_readable(fds: &[RawFd], timeout: Duration) -> io::Result<Vec<bool>> {
    let mut polls: Vec<_> = fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    let any = poll(&mut polls, timeout)?;
    Ok(polls.iter().map(|poll| any && poll.revents != 0).collect())
}

fn poll(polls: &mut [libc::pollfd], timeout: Duration) -> io::Result<bool> {
    let limit = libc::timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos().into() };
    // SAFETY: `polls` and `limit` are valid for the call; a null signal mask leaves the mask as it is.
    let ready = unsafe { libc::ppoll(polls.as_mut_ptr(), polls.len() as _, &limit, std::ptr::null()) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(ready > 0)
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
                let latest = datagram.latest_raw_ns;
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
    fn answers_go_back_to_who_asked_and_only_those() {
        let server = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let clients = [(); 3].map(|()| Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap());
        for round in 0..3u8 {
            for (client, byte) in clients.iter().zip(10u8..) {
                client.send(&[byte, round, 0, 0], server.local_addr().unwrap()).unwrap();
            }
            let (mut batch, mut waiting) = (Batch::default(), 3);
            while waiting > 0 {
                wait_readable_one(server.as_raw_fd(), Duration::from_secs(60)).unwrap();
                waiting -= server.receive(&mut batch).unwrap();
                let mut answered = 0;
                for i in 0..batch.len() {
                    let asked = batch.datagram(i).unwrap().bytes[0];
                    if asked != 11 {
                        batch.room(i)[0] = asked + 100;
                        batch.answer(i, 3);
                        answered += 1;
                    }
                }
                assert_eq!(server.send_answers(&mut batch), answered);
                assert_eq!(server.send_answers(&mut batch), 0, "once");
            }
            for (client, byte) in [(&clients[0], 110), (&clients[2], 112)] {
                assert!(wait_readable_one(client.as_raw_fd(), Duration::from_secs(60)).unwrap());
                assert_eq!(client.receive(&mut batch).unwrap(), 1);
                assert_eq!(*batch.datagram(0).unwrap().bytes, [byte, round, 0]);
            }
            assert!(!wait_readable_one(clients[1].as_raw_fd(), Duration::ZERO).unwrap());
        }
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
