# syntax=docker/dockerfile:1
# The worker's image for linux/arm64 and linux/amd64: each is built on (or emulated as) its own platform, so there is no
# cross-compiling to get wrong. The result holds the binary, the four libraries it is linked with and the certificates of
# public authorities: no shell, no package manager, no root. scripts/package builds and pushes it.
FROM rust:1.95-slim-bookworm AS build
ARG TARGETPLATFORM
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=smoother-target-${TARGETPLATFORM},sharing=locked \
    cargo build --release --locked --bin smoother \
    && scripts/image-root target/release/smoother /image

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
# Where `smoother run` answers, and `smoother health` asks.
ENV SMOOTHER_HEALTH_LISTEN=127.0.0.1:8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/smoother", "health"]
ENTRYPOINT ["/usr/local/bin/smoother"]
CMD ["run"]
