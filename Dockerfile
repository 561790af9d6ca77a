# The Lab in a container, also as a Hugging Face Space (deploy/space/README.md). docs/hosting.md says how to use it.
FROM python:3.12-slim

# Where torch says its CPU build lies, about a tenth of the one for GPUs in size.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# What changes rarely comes first, so that a change of the Lab builds two layers only.
COPY requirements.txt /src/
RUN grep -v '^-e' /src/requirements.txt > /src/pinned.txt \
 && pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' /src/pinned.txt)" \
 && pip install -r /src/pinned.txt

COPY pyproject.toml setup.py README.md LICENSE NOTICE /src/
COPY flexlora /src/flexlora
COPY analysis /src/analysis
COPY app /src/app
COPY sample_runs /src/sample_runs
RUN pip install --no-deps /src && rm -rf /src

# The number that Spaces run containers as, too. What it writes lies in /data: runs, and nothing else of worth.
RUN useradd --create-home --uid 1000 lab && mkdir /data && chown lab:lab /data
USER lab
WORKDIR /data

EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '7860') + '/_stcore/health', timeout=4)"]
CMD ["sh", "-c", "exec flexlora app --host 0.0.0.0 --port \"${PORT:-7860}\" --runs runs"]
