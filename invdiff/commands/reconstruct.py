"""`invdiff reconstruct`: its options; the work is in `reconstruction`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .arguments import FILES, RUN, BatchSize, Device, Overwrite, Seed, Threads, text


def reconstruct(
    context: typer.Context,
    image: Annotated[
        list[Path],
        typer.Argument(
            help="The corrupted image, a sinogram or an array; FILE#3: one of a stack. Several of them, a folder or "
            "FILE#all: one result for each, in a folder of its name."
        ),
    ],
    operator: Annotated[
        str,
        text(
            "The forward operator: NAME:key=value,... or file.py:Class; key=? or key=?1..5 is inferred. See: "
            "invdiff list operators --options. With several images {name} stands for the name of each, here and in the "
            "other options that name files."
        ),
    ],
    out: Annotated[Path, text("Folder for the results; made if needed.")],
    noise: Annotated[
        str | None,
        text(
            "Standard deviation of the noise (image values are in [0, 1]), auto, auto:poisson_gaussian, auto:columns, "
            "?, to infer it, or a model: poisson:photons=100, poisson_gaussian, transmission, quantized, "
            "gaussian:std=map.npy; see docs/noise.md. Needed, but for jpeg:auto."
        ),
    ] = None,
    solver: Annotated[str | None, text("NAME:key=value,... See: invdiff list solvers --options")] = None,
    prior: Annotated[
        str | None, text("NAME, weights (file or folder, of other libraries too), or file.py:function.")
    ] = None,
    samples: Annotated[int, text("Number of samples of the posterior.")] = 4,
    goal: Annotated[
        str, text("Without --solver: samples of the posterior, or estimate, one image with the least squared error.")
    ] = "samples",
    effort: Annotated[str, text("Without --solver: fast, normal or best.")] = "normal",
    seed: Seed = 0,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="IMAGE is clean: corrupt it first, and print PSNR and SSIM.")
    ] = False,
    mask: Annotated[
        Path | None,
        text("For inpainting: bright pixels of this image are known, dark ones missing; masks/{name}.png.", FILES),
    ] = None,
    mask_invert: Annotated[
        bool,
        typer.Option("--mask-invert", help="Bright pixels of the mask are the missing ones.", rich_help_panel=FILES),
    ] = False,
    mask_grow: Annotated[
        int, text("For inpainting: pixels by which missing regions grow, for antialiased edges of text.", FILES)
    ] = 0,
    missing_color: Annotated[
        str | None,
        text("For inpainting: pixels of this colour, as '#ff00ff', are missing; transparent ones always are.", FILES),
    ] = None,
    missing_tolerance: Annotated[
        int, text("Levels (of 255) by which a pixel may differ from that colour, as in a JPEG.", FILES)
    ] = 0,
    angles: Annotated[
        str | None,
        text("For tomography, degrees of the sinogram's rows: a count, start:stop:step, or a file.", FILES),
    ] = None,
    pixel_size: Annotated[
        float | None,
        text("For tomography: side of a pixel; in cm if the image is in 1/cm, in mm if it is in 1/mm.", FILES),
    ] = None,
    units: Annotated[
        str | None,
        text(
            "For --prior ct: the units of the image behind the measurement, 1/cm, 1/mm, 1/m or HU, with the "
            "attenuation of water if needed, 1/cm:mu_water=0.19. Results are in them; see docs/files.md.",
            FILES,
        ),
    ] = None,
    convention: Annotated[
        str | None,
        text("For tomography: whose sinogram it is: invdiff, skimage, astra or odl.", FILES),
    ] = None,
    transpose: Annotated[
        bool,
        typer.Option(
            "--transpose", help="For tomography: the file's columns belong to the angles.", rich_help_panel=FILES
        ),
    ] = False,
    measurement_scale: Annotated[
        float, text("Multiply IMAGE by this: the value of white in the image of a sinogram.", FILES)
    ] = 1.0,
    gray: Annotated[bool, typer.Option("--gray", help="Take a colour IMAGE as gray.", rich_help_panel=FILES)] = False,
    white_level: Annotated[
        float | None, text("Value of white in IMAGE; by default that of its type: 255, 65535, or 1 for floats.", FILES)
    ] = None,
    black_level: Annotated[float, text("Value of black in IMAGE.", FILES)] = 0.0,
    calibration: Annotated[
        Path | None, text("A file of invdiff calibrate; by default an embedded one, if one holds.")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    batch_size: BatchSize = None,
    memory: Annotated[
        str | None,
        text(
            "Bound on the peak memory, as 4GB: a large picture goes through the network in tiles. A quarter of it all.",
            RUN,
        ),
    ] = None,
    workers: Annotated[
        int, text("Processes of this machine that share pictures and samples, each with its part of the threads.", RUN)
    ] = 1,
    scheduler: Annotated[
        str | None, text("Dask cluster that shares pictures and samples, tcp://host:8786; see docs/scale.md.", RUN)
    ] = None,
    export: Annotated[
        str, text("How arrays are written: npz, zarr (chunked, for large ones), tiff (float32), or none.", RUN)
    ] = "npz",
    overwrite: Overwrite = False,
) -> int:
    """Reconstruct an image, with its uncertainty.

    Writes mean.png, std.png, lower.png, upper.png, sample_*.png, comparison.png, result.npz and result.json.

    Example: invdiff reconstruct photo.png --operator blur:sigma=3 --noise 0.025 --out result
    Example: invdiff reconstruct FOLDER --operator inpainting --mask masks/{name}.png --noise 0.025 --out results
    """
    from ..specs import parse_operator, parse_spec
    from .reconstruction.checks import check_request
    from .reconstruction.pictures import Picture, filled, find_pictures, is_several, name_of
    from .reconstruction.request import Request

    several = is_several(image)

    def request(picture: Picture) -> Request:
        def of_it(option: str | None) -> str | None:
            return None if option is None else filled(option, picture.name)

        return Request(
            image=picture.path, operator=parse_operator(filled(operator, picture.name)),
            out=out / picture.name if several else out, noise=of_it(noise), prior=prior,
            solver=None if solver is None else parse_spec(solver),
            goal=goal, effort=effort, calibration=calibration,
            samples=samples, seed=seed, simulate=simulate,
            mask=None if mask is None else Path(filled(str(mask), picture.name)),
            mask_invert=mask_invert, mask_grow=mask_grow,
            missing_color=missing_color,
            missing_tolerance=missing_tolerance, angles=of_it(angles), pixel_size=pixel_size, convention=convention,
            transpose=transpose, units=units, measurement_scale=measurement_scale,
            gray=gray, white_level=white_level, black_level=black_level,
            device=device, threads=threads, batch_size=batch_size, memory=memory, workers=workers,
            scheduler=scheduler, export=export, overwrite=overwrite,
            command=context.obj,
        )  # fmt: skip

    if several:
        requests = [request(picture) for picture in find_pictures(image)]
        from .reconstruction.several import Order, run_several

        return run_several(Order(requests, out, operator))
    alone = request(Picture(image[0], name_of(image[0])))
    check_request(alone)
    from .reconstruction.run import run

    return run(alone)
