# edgeconv with everything that converts and measures:
#   docker build -t edgeconv .
#   docker run --user "$(id -u)" -v "$PWD:/models" edgeconv convert model.onnx
FROM python:3.11-slim-bookworm

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY tools/environment.py tools/environment.py
COPY edgeconv edgeconv
RUN python3 tools/environment.py --production --venv /venv

ENV PATH=/venv/bin:$PATH \
    HOME=/tmp
USER 1000:1000
WORKDIR /models
ENTRYPOINT ["edgeconv"]
CMD ["--help"]
