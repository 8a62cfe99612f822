//! Questions and answers on libp2p streams: one message each way, ended by the end of the stream, of limited size.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use glia_protocol::exchange::{ControlRequest, ControlResponse};
use glia_protocol::limits::{MAX_CONTROL_MESSAGE, MAX_CONTROL_REQUEST};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;

/// The codec of [`glia_protocol::version::CONTROL_PROTOCOL`].
#[derive(Debug, Clone, Default)]
pub(super) struct ControlCodec;

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// All bytes up to the end of the stream, which must come within `max`. Memory grows with what arrives.
async fn read<T: AsyncRead + Unpin + Send>(io: &mut T, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(max as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > max {
        return Err(invalid(format!("message of more than {max} bytes")));
    }
    Ok(bytes)
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: Vec<u8>) -> io::Result<()> {
    io.write_all(&bytes).await?;
    io.close().await
}

impl Codec for ControlCodec {
    type Protocol = StreamProtocol;
    type Request = ControlRequest;
    type Response = ControlResponse;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<ControlRequest>
    where
        T: AsyncRead + Unpin + Send,
    {
        ControlRequest::from_bytes(&read(io, MAX_CONTROL_REQUEST).await?).map_err(invalid)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<ControlResponse>
    where
        T: AsyncRead + Unpin + Send,
    {
        ControlResponse::from_bytes(&read(io, MAX_CONTROL_MESSAGE).await?).map_err(invalid)
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, question: ControlRequest) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, question.to_bytes().map_err(invalid)?).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: ControlResponse) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, answer.to_bytes().map_err(invalid)?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol() -> StreamProtocol {
        StreamProtocol::new(glia_protocol::version::CONTROL_PROTOCOL)
    }

    #[tokio::test]
    async fn questions_survive_the_wire() {
        let question = ControlRequest::ProvePossession { nonce: [3; 32] };
        let mut bytes = futures::io::Cursor::new(Vec::new());
        ControlCodec.write_request(&protocol(), &mut bytes, question.clone()).await.unwrap();
        let mut bytes = futures::io::Cursor::new(bytes.into_inner());
        assert_eq!(ControlCodec.read_request(&protocol(), &mut bytes).await.unwrap(), question);
    }

    #[tokio::test]
    async fn an_endless_message_is_refused_at_its_limit() {
        for max in [MAX_CONTROL_REQUEST, MAX_CONTROL_MESSAGE] {
            let error = read(&mut futures::io::repeat(0), max).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
