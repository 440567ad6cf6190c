//! A small web server for boots and tests: HTTP/1.1 with keep-alive, and every misbehaviour that a client must
//! survive, by path (RFC 9112).

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// The longest body of a request that is kept; longer ones are answered with 413.
const BODY_LIMIT: u64 = 64 << 20;

/// A running server; dropping it closes every connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// One request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which connection it came on, counted from 0: equal for requests that shared one.
    pub connection: usize,
    /// `GET`, mostly.
    pub method: String,
    /// The request target, query included, not decoded.
    pub target: String,
    /// Header names as sent, and values.
    pub headers: Vec<(String, String)>,
    /// What a `POST` or `PUT` brought, as its `Content-Length` says; empty for others.
    pub body: Arc<[u8]>,
}

impl Request {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The length of its body, 0 where it names none that can be read.
    fn length(&self) -> u64 {
        let length = self.header("Content-Length");
        length.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

/// The answer of a path: a status, headers, a body, and the faults to inject.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
    framing: Framing,
    delay: Duration,
    fault: Fault,
}

#[derive(Debug, Clone)]
enum Body {
    Bytes(Arc<[u8]>),
    File(PathBuf),
    Zeros(u64),
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    Chunked(usize),
    UntilClose,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    Truncate(u64),
    Stall(u64),
    Corrupt(u64),
}

impl Answer {
    fn new(status: u16, body: Body) -> Self {
        Self {
            status,
            headers: vec![],
            body,
            framing: Framing::Length,
            delay: Duration::ZERO,
            fault: Fault::None,
        }
    }

    /// 200 with these bytes.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::status(200, body)
    }

    /// Any status, with these bytes.
    pub fn status(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self::new(status, Body::Bytes(Arc::from(body.as_ref())))
    }

    /// 200 with a file's bytes, read anew for each request; 404 when it cannot be opened.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(200, Body::File(path.into()))
    }

    /// 200 with this many zero bytes, which are nowhere stored.
    pub fn zeros(length: u64) -> Self {
        Self::new(200, Body::Zeros(length))
    }

    /// A redirect (301, 302, 303, 307, 308) to `location`, absolute or relative.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status, "").header("Location", location)
    }

    /// Adds a header; its name and value go out as they are.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Chunked transfer coding, in chunks of `size` bytes.
    pub fn chunked(mut self, size: usize) -> Self {
        self.framing = Framing::Chunked(size.max(1));
        self
    }

    /// No length: the end of the connection is the end of the body.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    /// Waits before the first byte of the answer.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Closes the connection after this many bytes of the body, whatever length was announced.
    pub fn truncate(mut self, after: u64) -> Self {
        self.fault = Fault::Truncate(after);
        self
    }

    /// Sends this many bytes of the body, then nothing more, with the connection open.
    pub fn stall(mut self, after: u64) -> Self {
        self.fault = Fault::Stall(after);
        self
    }

    /// Flips the lowest bit of the body's byte at this offset.
    pub fn corrupt(mut self, offset: u64) -> Self {
        self.fault = Fault::Corrupt(offset);
        self
    }
}

/// Answers by the whole request.
type Choice = dyn Fn(&Request) -> Option<Answer> + Send + Sync;

/// Answers requests that no path answers.
struct Otherwise(Arc<Choice>);

impl fmt::Debug for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Otherwise")
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    stopping: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By path: the answers still to give; the last one stays.
    answers: HashMap<String, Vec<Answer>>,
    otherwise: Option<Otherwise>,
    root: Option<PathBuf>,
    requests: Vec<Request>,
    /// By path: the bytes of bodies that went out.
    sent: HashMap<String, u64>,
    connections: Vec<TcpStream>,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, but not beyond the server's end; true when it has ended.
    fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        self.stopping
            .wait_timeout_while(state, time, |state| !state.stopped)
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .stopped
    }

    /// The answer for `request` of `path`, which the path's next request may find replaced by another.
    fn answer(&self, path: &str, request: &Request) -> Answer {
        let mut state = self.lock();
        if let Some(answers) = state.answers.get_mut(path) {
            if answers.len() > 1 {
                return answers.remove(0);
            }
            if let Some(answer) = answers.first() {
                return answer.clone();
            }
        }
        if let Some(answer) = state
            .otherwise
            .as_ref()
            .and_then(|Otherwise(answer)| answer(request))
        {
            return answer;
        }
        let file = state.root.as_deref().and_then(|root| below(root, path));
        file.map_or_else(|| Answer::status(404, "not found\n"), Answer::file)
    }
}

impl Server {
    /// A server on a free port of the loopback: 10.0.2.2 to a guest on QEMU's user network.
    pub fn start() -> Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// A server on this address.
    pub fn bind(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("http: bind {address}"))?;
        let address = listener.local_addr().context("http: local address")?;
        let shared = Arc::new(Shared::default());
        let accepted = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepted));
        Ok(Self { address, shared })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path`, which begins with a slash, for a guest on QEMU's user network.
    pub fn url(&self, path: &str) -> String {
        format!("http://10.0.2.2:{}{path}", self.address.port())
    }

    /// Gives `path` (without its query) this answer, in place of any other.
    pub fn put(&self, path: &str, answer: Answer) {
        self.put_sequence(path, vec![answer]);
    }

    /// Gives `path` these answers, one for each request; the last one stays.
    pub fn put_sequence(&self, path: &str, answers: Vec<Answer>) {
        self.shared.lock().answers.insert(path.to_owned(), answers);
    }

    /// Asks `answer` for the paths without an answer of their own.
    pub fn otherwise(&self, answer: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) {
        self.shared.lock().otherwise = Some(Otherwise(Arc::new(answer)));
    }

    /// Serves the files below `root` for the paths without an answer of their own.
    pub fn directory(&self, root: impl Into<PathBuf>) {
        self.shared.lock().root = Some(root.into());
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// How many bytes of bodies have gone out for `path`, all requests together; up to a few hundred KiB of them may still
    /// be on their way.
    pub fn sent(&self, path: &str) -> u64 {
        self.shared.lock().sent.get(path).copied().unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        for connection in state.connections.drain(..) {
            // The client may have closed the connection already.
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.stopping.notify_all();
        // The accepting thread looks at `stopped` when somebody connects.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, stream) in listener.incoming().enumerate() {
        let mut state = shared.lock();
        if state.stopped {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(copy) = stream.try_clone() else { continue };
        state.connections.push(copy);
        drop(state);
        let shared = Arc::clone(shared);
        // A client that went away is the test's business, not the server's.
        thread::spawn(move || {
            let _ = converse(&stream, number, &shared);
            let _ = stream.shutdown(Shutdown::Both);
        });
    }
}

/// Serves one connection until either side closes it.
fn converse(stream: &TcpStream, connection: usize, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = read_request(&mut reader, connection)? {
        let path = request.target.split('?').next().unwrap_or("").to_owned();
        let head = request.method == "HEAD";
        let close = request
            .header("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let too_long = request.length() > BODY_LIMIT;
        let answer = if too_long {
            Answer::status(413, "too long\n")
        } else {
            request.body = read_body(&mut reader, request.length())?;
            shared.answer(&path, &request)
        };
        shared.lock().requests.push(request);
        let keep = respond(stream, &path, answer, head, shared)?;
        if close || too_long || !keep {
            return Ok(());
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead, connection: usize) -> io::Result<Option<Request>> {
    let Some(line) = read_line(reader)? else {
        return Ok(None);
    };
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, line));
    };
    let mut request = Request {
        connection,
        method: method.to_owned(),
        target: target.to_owned(),
        headers: vec![],
        body: Arc::default(),
    };
    while let Some(line) = read_line(reader)?.filter(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':') {
            request.headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    Ok(Some(request))
}

/// A body of this length.
///
/// # Errors
///
/// When the connection ends before it.
fn read_body(reader: &mut impl BufRead, length: u64) -> io::Result<Arc<[u8]>> {
    let mut body = Vec::new();
    if reader.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body.into())
}

/// A line without its end; none at the end of the connection.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.take(64 * 1024).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

/// Sends `answer`; true when the connection can serve another request.
fn respond(
    mut stream: &TcpStream,
    path: &str,
    answer: Answer,
    head: bool,
    shared: &Shared,
) -> io::Result<bool> {
    let (answer, mut body, length) = open(answer);
    if shared.pause(answer.delay) {
        return Ok(false);
    }
    let mut lines = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    for (name, value) in &answer.headers {
        lines.push_str(&format!("{name}: {value}\r\n"));
    }
    match answer.framing {
        Framing::Length => lines.push_str(&format!("Content-Length: {length}\r\n")),
        Framing::Chunked(_) => lines.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::UntilClose => lines.push_str("Connection: close\r\n"),
    }
    stream.write_all(format!("{lines}\r\n").as_bytes())?;
    if head {
        return Ok(true);
    }
    let limit = match answer.fault {
        Fault::Truncate(after) | Fault::Stall(after) => after.min(length),
        Fault::None | Fault::Corrupt(_) => length,
    };
    let piece = match answer.framing {
        Framing::Chunked(size) => size,
        Framing::Length | Framing::UntilClose => 64 * 1024,
    };
    let mut buffer = vec![0; piece];
    let mut sent = 0;
    while sent < limit {
        let want = usize::try_from(limit - sent).unwrap_or(piece).min(piece);
        let part = buffer.get_mut(..want).unwrap_or_default();
        body.read_exact(part)?;
        if let Fault::Corrupt(offset) = answer.fault
            && let Some(byte) = offset
                .checked_sub(sent)
                .and_then(|at| part.get_mut(usize::try_from(at).ok()?))
        {
            *byte ^= 1;
        }
        match answer.framing {
            Framing::Chunked(_) => {
                let mut chunk = format!("{want:x}\r\n").into_bytes();
                chunk.extend_from_slice(part);
                chunk.extend_from_slice(b"\r\n");
                stream.write_all(&chunk)?;
            }
            Framing::Length | Framing::UntilClose => stream.write_all(part)?,
        }
        sent += want as u64;
        *shared.lock().sent.entry(path.to_owned()).or_default() += want as u64;
    }
    match (answer.fault, answer.framing) {
        (Fault::Truncate(_), _) => Ok(false),
        (Fault::Stall(_), _) => {
            while !shared.pause(Duration::from_secs(3600)) {}
            Ok(false)
        }
        (_, Framing::Chunked(_)) => stream.write_all(b"0\r\n\r\n").map(|()| true),
        (_, Framing::UntilClose) => Ok(false),
        (_, Framing::Length) => Ok(true),
    }
}

/// The body as a stream and its length; a file that cannot be opened makes the answer a 404.
fn open(answer: Answer) -> (Answer, Box<dyn Read>, u64) {
    match &answer.body {
        Body::Bytes(bytes) => {
            let (bytes, length) = (Arc::clone(bytes), bytes.len() as u64);
            (answer, Box::new(io::Cursor::new(bytes)), length)
        }
        Body::Zeros(length) => {
            let length = *length;
            (answer, Box::new(io::repeat(0)), length)
        }
        Body::File(path) => {
            let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
            match opened {
                Ok((metadata, file)) if metadata.is_file() => (answer, Box::new(file), metadata.len()),
                _ => open(Answer::status(404, "not found\n")),
            }
        }
    }
}

/// The file of a request path, if that stays below `root`. Percent-coding is decoded.
fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let relative = PathBuf::from(percent_decode(path.strip_prefix('/')?)?);
    relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
        .then(|| root.join(relative))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Content Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends the requests on one connection and reads until the server closes it, or `enough` bytes are there.
    fn exchange(server: &Server, requests: &str, enough: usize) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(requests.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.take(enough as u64).read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    const ALL: usize = usize::MAX;

    #[test]
    fn one_connection_serves_several_requests_and_the_log_has_them() {
        let server = Server::start().unwrap();
        server.put("/a", Answer::ok("first"));
        server.put("/b", Answer::ok("second").chunked(4));
        let text = exchange(
            &server,
            "GET /a?x=1 HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nconnection: close\r\n\r\n",
            ALL,
        );
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 200"),
            "{text}"
        );
        assert!(
            text.ends_with("\r\n\r\n4\r\nseco\r\n2\r\nnd\r\n0\r\n\r\n"),
            "{text}"
        );
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0].target, "/a?x=1");
        assert_eq!(requests[0].header("host"), Some("h"));
        assert_eq!(requests[0].connection, requests[1].connection);
        assert_eq!(
            (server.sent("/a"), server.sent("/b"), server.sent("/c")),
            (5, 6, 0)
        );
    }

    #[test]
    fn an_upload_is_kept_and_the_connection_goes_on() {
        let server = Server::start().unwrap();
        server.put("/up", Answer::ok("thanks"));
        let text = exchange(
            &server,
            "PUT /up HTTP/1.1\r\nContent-Length: 7\r\n\r\nab\r\n\r\n\0\
             POST /up HTTP/1.1\r\nConnection: close\r\n\r\n",
            ALL,
        );
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
        let requests = server.requests();
        assert_eq!(&*requests[0].body, b"ab\r\n\r\n\0");
        assert_eq!(&*requests[1].body, b"");
    }

    #[test]
    fn an_upload_without_bound_is_refused_and_a_short_one_dropped() {
        let server = Server::start().unwrap();
        server.put("/up", Answer::ok("thanks"));
        let text = exchange(
            &server,
            "PUT /up HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
            ALL,
        );
        assert!(text.starts_with("HTTP/1.1 413 Content Too Large\r\n"), "{text}");
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream
            .write_all(b"PUT /up HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort")
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"", "no answer to half a request");
        assert_eq!(server.requests().len(), 1);
    }

    #[test]
    fn answers_come_in_sequence_and_the_last_one_stays() {
        let server = Server::start().unwrap();
        server.put_sequence("/k", vec![Answer::status(503, ""), Answer::redirect(302, "/l")]);
        let once = "GET /k HTTP/1.1\r\nConnection: close\r\n\r\n";
        assert!(exchange(&server, once, ALL).starts_with("HTTP/1.1 503 Service"));
        for _ in 0..2 {
            let text = exchange(&server, once, ALL);
            assert!(
                text.starts_with("HTTP/1.1 302 Found\r\nLocation: /l\r\n"),
                "{text}"
            );
        }
    }

    #[test]
    fn faults_happen_where_they_should() {
        let server = Server::start().unwrap();
        server.put("/short", Answer::ok("0123456789").truncate(4));
        server.put("/bad", Answer::ok("0123456789").corrupt(2).until_close());
        server.put("/stall", Answer::zeros(1 << 40).stall(3));
        let text = exchange(&server, "GET /short HTTP/1.1\r\n\r\n", ALL);
        assert!(text.ends_with("Content-Length: 10\r\n\r\n0123"), "{text}");
        let text = exchange(&server, "GET /bad HTTP/1.1\r\n\r\n", ALL);
        assert!(text.ends_with("Connection: close\r\n\r\n0133456789"), "{text}");
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n\0\0\0";
        let text = exchange(&server, "GET /stall HTTP/1.1\r\n\r\n", head.len());
        assert_eq!(text, head);
    }

    #[test]
    fn files_come_from_below_the_root_only() {
        let root = std::env::temp_dir().join(format!("bramble-http-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a b")).unwrap();
        std::fs::write(root.join("a b/menu"), "DEFAULT x").unwrap();
        let server = Server::start().unwrap();
        server.directory(&root);
        let get = |path: &str| {
            exchange(
                &server,
                &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n"),
                ALL,
            )
        };
        assert!(get("/a%20b/menu").ends_with("\r\n\r\nDEFAULT x"));
        for outside in [
            "/../etc/passwd",
            "/%2e%2e/etc/passwd",
            "//etc/passwd",
            "/a%20b",
            "/%zz",
            "/no",
        ] {
            assert!(get(outside).starts_with("HTTP/1.1 404"), "{outside}");
        }
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_ended_server_leaves_no_connection_open() {
        let server = Server::start().unwrap();
        server.put("/stall", Answer::ok("x").stall(0));
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET /stall HTTP/1.1\r\n\r\n").unwrap();
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        drop(server);
        let mut rest = Vec::new();
        // Ended, either in order or by a reset; a time-out would be neither.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
}
