//! A small blocking HTTP/1.1 client, so that tests can also send what no library would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::server::PATIENCE;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The answer, if its status is `status`.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// Sends one request on a connection of its own; `None` if the connection broke before an answer.
pub(crate) fn try_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"))
    {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    let mut connection = Connection::open(address)?;
    connection.send(&bytes);
    connection.answer(PATIENCE).ok()
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nothing came in time, and the connection is open.
    Waiting,
    /// The connection ended, in order or not.
    Closed,
}

/// A connection that stays open between requests, if the server lets it.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(Self {
            reader: BufReader::new(stream),
        })
    }

    /// Sends bytes as they are. A server may answer and close before it has read everything, and the
    /// answer still counts, so that a failure shows when the answer is read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.reader.get_mut().write_all(bytes);
    }

    /// Says that nothing more comes.
    pub(crate) fn end(&self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Write);
    }

    /// Reads one answer, whose first byte must come within `patience`.
    pub(crate) fn answer(&mut self, patience: Duration) -> Result<Answer, Silence> {
        loop {
            let answer = self.any_answer(patience)?;
            if answer.status >= 200 {
                return Ok(answer);
            }
        }
    }

    fn any_answer(&mut self, patience: Duration) -> Result<Answer, Silence> {
        self.be_patient(patience);
        match self.reader.fill_buf() {
            Ok([]) => return Err(Silence::Closed),
            Ok(_) => {}
            Err(error) if is_timeout(&error) => return Err(Silence::Waiting),
            Err(_) => return Err(Silence::Closed),
        }
        self.be_patient(PATIENCE);
        self.read_answer().ok_or(Silence::Closed)
    }

    fn be_patient(&self, patience: Duration) {
        self.reader
            .get_ref()
            .set_read_timeout(Some(patience))
            .unwrap();
    }

    fn read_answer(&mut self) -> Option<Answer> {
        let (status, headers) = read_head(&mut self.reader)?;
        let mut body = Vec::new();
        if status < 200 || status == 204 || status == 304 {
            // These have none.
        } else if find(&headers, "transfer-encoding").is_some() {
            Chunks::new(&mut self.reader).read_to_end(&mut body).ok()?;
        } else if let Some(length) = find(&headers, "content-length") {
            body.resize(length.parse().ok()?, 0);
            self.reader.read_exact(&mut body).ok()?;
        } else {
            self.reader.read_to_end(&mut body).ok()?;
        }
        Some(Answer {
            status,
            headers,
            body,
        })
    }

    /// Asks for server-sent events and gives their lines as they come.
    pub(crate) fn lines(
        mut self,
        path: &str,
        headers: &str,
    ) -> impl Iterator<Item = String> + use<> {
        self.be_patient(PATIENCE);
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").as_bytes());
        let (status, headers) = read_head(&mut self.reader).expect("the stream opens");
        assert_eq!(status, 200, "{headers:?}");
        assert_eq!(find(&headers, "content-type"), Some("text/event-stream"));
        BufReader::new(Chunks::new(self.reader))
            .lines()
            .map(|line| line.expect("the stream goes on"))
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut all = headers.iter();
    let (_, value) = all.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    Some(value)
}

fn read_head(reader: &mut impl BufRead) -> Option<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let status = line.split_whitespace().nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Some((status, headers));
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// What a chunked body holds.
struct Chunks<R> {
    reader: R,
    left: usize,
    begun: bool,
    ended: bool,
}

impl<R: BufRead> Chunks<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            left: 0,
            begun: false,
            ended: false,
        }
    }

    fn read_line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        Ok(line)
    }
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.ended {
            if self.begun {
                self.read_line()?;
            }
            self.begun = true;
            let size = self.read_line()?;
            self.left = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
            if self.left == 0 {
                self.ended = true;
                self.read_line()?;
            }
        }
        let wanted = out.len().min(self.left);
        let read = self.reader.read(&mut out[..wanted])?;
        self.left -= read;
        Ok(read)
    }
}
