"""A sweep on SLURM: `python slurm.py SPEC OUT JOBS`. Each job is one worker with one GPU; a job that dies, or ends, is replaced.

Needs `pip install 'lsa-jax[cluster]' dask-jobqueue` here and on the nodes, and OUT on storage that all see. Run it on a login node, in
`tmux` or the like, or as a small job of its own: it hands out chunks and trains nothing. Run it again to resume after an interruption.
"""

import sys

import jax
from dask_jobqueue import SLURMCluster
from distributed import Client

import lsa_jax as lsa

WALLTIME, MEMORY = "04:00:00", "32GB"


def workers(jobs: int) -> SLURMCluster:
    """Return up to so many jobs of one worker each, and one GPU."""
    cluster = SLURMCluster(
        cores=1,
        processes=1,
        memory=MEMORY,
        walltime=WALLTIME,
        job_cpu=8,
        job_extra_directives=["--gres=gpu:1"],
        worker_extra_args=["--lifetime", "225m", "--lifetime-stagger", "5m"],  # leave in good order before SLURM ends it
    )
    cluster.adapt(minimum_jobs=1, maximum_jobs=jobs)
    return cluster


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")  # of this process alone: a GPU it has is left to workers
    with workers(int(sys.argv[3])) as cluster, Client(cluster) as client, client.get_executor(pure=False) as executor:
        print(lsa.run_sweep(sys.argv[1], sys.argv[2], executor=executor))
