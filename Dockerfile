# syntax=docker/dockerfile:1
# Every program of Pabal in one image; what runs is chosen by the command.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --workspace --bins \
    && install -D -t /out/bin \
        target/release/pabal target/release/pabal-receiver target/release/pabal-sender \
        target/release/pabal-webhook-receiver target/release/pabal-reporter target/release/pabal-simulator \
    # A new volume takes its owner and mode from these folders.
    && install -d -m 0700 /out/var/keys /out/var/data

# No shell, no package manager: the programs, the C library, root certificates, time zones.
FROM gcr.io/distroless/cc-debian12
COPY --from=build /out/bin/ /usr/local/bin/
COPY --from=build --chown=10001:10001 /out/var/ /var/lib/pabal/
USER 10001:10001
WORKDIR /var/lib/pabal
ENV PABAL_DATA_FOLDER=/var/lib/pabal/data PABAL_LOG_FORMAT=json
EXPOSE 8080
# What is under way is finished or given back; shutdown.deadline says how long that may take.
STOPSIGNAL SIGTERM
CMD ["pabal"]
