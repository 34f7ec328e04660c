//! A connection's socket with two owners. hyper reads and writes it. The server keeps a handle, to see whether
//! the client is still there, and to close it cleanly after hyper.
//!
//! Never here: limits.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use super::activity::Activity;

/// What is read at once of what nobody wants.
const DRAIN_BYTES: usize = 16 << 10;

/// The server's handle on a connection.
pub(super) struct Line {
    /// Also the way to the whole socket.
    socket: OwnedWriteHalf,
    pub(super) activity: Arc<Activity>,
    /// Notified when the connection must close for a new one.
    pub(super) evicted: Notify,
}

/// The state of a client, as far as it is known without reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ClientState {
    /// It sent nothing that was not read.
    Quiet,
    /// Bytes are waiting.
    Sending,
    /// It will send no more; it may still read.
    HalfClosed,
    /// The connection is broken.
    Gone,
}

impl Line {
    /// The server's handle, and what hyper gets.
    pub(super) fn new(stream: TcpStream) -> (Arc<Self>, Watched) {
        let (reading, writing) = stream.into_split();
        let line = Arc::new(Self {
            socket: writing,
            activity: Arc::new(Activity::new()),
            evicted: Notify::new(),
        });
        let watched = Watched {
            reading,
            line: line.clone(),
        };
        (line, watched)
    }

    fn stream(&self) -> &TcpStream {
        self.socket.as_ref()
    }

    /// Sends what is written at once; a socket that is gone says so when it is read.
    pub(super) fn send_at_once(&self) {
        let _ = self.stream().set_nodelay(true);
    }

    /// Looks at what the client has sent, and leaves it there.
    pub(super) fn look(&self) -> ClientState {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(self.stream(), &mut byte[..], flags) {
            Ok((_, 0)) => ClientState::HalfClosed,
            Ok(_) => ClientState::Sending,
            Err(Errno::WOULDBLOCK | Errno::INTR) => ClientState::Quiet,
            Err(_) => ClientState::Gone,
        }
    }

    /// Says that no more comes from here.
    pub(super) fn shut(&self) -> io::Result<()> {
        rustix::net::shutdown(self.stream(), Shutdown::Write).map_err(io::Error::from)
    }

    /// Reads until the client ends or `bytes_max` have been thrown away. A socket that is closed while
    /// bytes are on their way resets the connection, and the client never sees the answer.
    pub(super) async fn drain(&self, bytes_max: usize) {
        let stream = self.stream();
        let mut scrap = vec![0; DRAIN_BYTES];
        let mut bytes = 0;
        while bytes < bytes_max && stream.readable().await.is_ok() {
            match stream.try_read(&mut scrap) {
                Ok(0) => return,
                Ok(length) => {
                    bytes += length;
                    self.activity.bytes_drained();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// The socket as hyper has it: it notes when bytes come and when they can't go.
pub(super) struct Watched {
    reading: OwnedReadHalf,
    line: Arc<Line>,
}

impl Watched {
    /// Does `write` once the socket takes bytes.
    fn poll_with(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let stream = self.line.stream();
        loop {
            ready!(stream.poll_write_ready(context))?;
            match write(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.reading).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.line.activity.bytes_came();
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = self.poll_with(context, |stream| stream.try_write(bytes));
        self.line.activity.write_ended(result.is_pending());
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.poll_with(context, |stream| stream.try_write_vectored(slices));
        self.line.activity.write_ended(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The system has what was written.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.line.shut() {
            // The client was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}
