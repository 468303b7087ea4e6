"""Names and facts of built-in objects. Generated from the classes by `python -m invdiff.registry --write`.

Do not edit: change the class attributes, and run that command.
"""

from __future__ import annotations

from .entry import NoiseEntry, OperatorEntry, SolverEntry

NOISES: dict[str, NoiseEntry] = {
    "gaussian": NoiseEntry(
        "invdiff.noise:Gaussian",
        "white Gaussian noise of one standard deviation, or a map of them in a file",
        parameters={"std": None},
    ),
    "poisson": NoiseEntry("invdiff.noise:Poisson", "photon counts", parameters={"photons": None}),
    "poisson_gaussian": NoiseEntry(
        "invdiff.noise:PoissonGaussian",
        "photon counts and Gaussian readout noise",
        parameters={"photons": None, "std": None},
    ),
    "quantized": NoiseEntry(
        "invdiff.noise:Quantized",
        "Gaussian noise, then rounding to equally spaced levels",
        parameters={"levels": 256, "std": 0.0},
    ),
    "transmission": NoiseEntry(
        "invdiff.noise:TransmissionPoisson",
        "X-rays: logarithms of photon counts behind an object",
        parameters={"photons": None},
    ),
}

OPERATORS: dict[str, OperatorEntry] = {
    "blur": OperatorEntry(
        "invdiff.operators:Blur",
        "convolution: Gaussian, motion, uniform or any kernel, four borders",
        photographic=True,
    ),
    "compressed_sensing": OperatorEntry(
        "invdiff.operators:CompressedSensing", "random projections, structured or dense"
    ),
    "demosaic": OperatorEntry(
        "invdiff.operators:Demosaic", "one colour for each pixel, Bayer patterns", photographic=True
    ),
    "downsample": OperatorEntry(
        "invdiff.operators:Downsample",
        "fewer pixels: average or antialiased bicubic, any integer factor",
        photographic=True,
    ),
    "fan_beam": OperatorEntry(
        "invdiff.operators:FanBeamTomography", "X-ray projections from a point source", sinogram=True
    ),
    "gamma_curve": OperatorEntry("invdiff.operators:GammaCurve", "a tone curve", photographic=True),
    "grayscale": OperatorEntry(
        "invdiff.operators:Grayscale", "the luma of a colour image: colourisation", photographic=True
    ),
    "high_dynamic_range": OperatorEntry(
        "invdiff.operators:HighDynamicRange", "contrast clipped to [0, 1]", photographic=True
    ),
    "identity": OperatorEntry("invdiff.operators:Identity", "the image itself: denoising", photographic=True),
    "inpainting": OperatorEntry(
        "invdiff.operators:Inpainting", "missing pixels: box, random or any mask", photographic=True, takes_mask=True
    ),
    "jpeg": OperatorEntry("invdiff.operators:JPEG", "compression; gradients ignore the rounding", photographic=True),
    "mri": OperatorEntry(
        "invdiff.operators:MRI", "frequencies under a mask, one coil; real or complex images", complex_valued=True
    ),
    "nonlinear_blur": OperatorEntry(
        "invdiff.operators:NonlinearBlur", "blur in linear light behind a camera's tone curve", photographic=True
    ),
    "phase_retrieval": OperatorEntry(
        "invdiff.operators:PhaseRetrieval", "magnitude of the oversampled Fourier transform"
    ),
    "space_varying_blur": OperatorEntry(
        "invdiff.operators:SpaceVaryingBlur", "Gaussian blur that grows from left to right", photographic=True
    ),
    "tomography": OperatorEntry(
        "invdiff.operators:Tomography", "parallel-beam X-ray projections at any angles", sinogram=True
    ),
}

SOLVERS: dict[str, SolverEntry] = {
    "ald": SolverEntry(
        "invdiff.solvers:ScoreALD",
        "diffusion by annealed Langevin with a measurement",
        paper="Jalal et al. 2021",
        needs="gaussian vjp",
    ),
    "auto": SolverEntry(
        "invdiff.solvers:Auto",
        "the solvers measured to be best for this kind of problem",
        paper="after Wolpert 1992",
        needs="vjp",
    ),
    "convolved": SolverEntry(
        "invdiff.solvers:ConvolvedLikelihood",
        "diffusion guided by the convolved likelihood",
        paper="Adam et al. 2022",
        needs="linear gaussian",
    ),
    "daps": SolverEntry(
        "invdiff.solvers:DAPS",
        "decoupled annealing: draw a clean image, add new noise",
        paper="Zhang et al. 2025",
        needs="vjp",
    ),
    "dcps": SolverEntry(
        "invdiff.solvers:DCPS",
        "divide and conquer: variational steps through intermediate posteriors",
        paper="Janati et al. 2024",
        needs="gaussian vjp",
    ),
    "ddnm": SolverEntry(
        "invdiff.solvers:DDNM",
        "diffusion in the operator's null space, DDNM+ with time travel",
        paper="Wang et al. 2023",
        needs="linear svd gaussian",
    ),
    "ddrm": SolverEntry(
        "invdiff.solvers:DDRM",
        "diffusion in the operator's singular vectors, few steps",
        paper="Kawar et al. 2022",
        needs="linear svd gaussian",
    ),
    "diffpir": SolverEntry(
        "invdiff.solvers:DiffPIR",
        "half-quadratic splitting along the noise levels",
        paper="Zhu et al. 2023",
        needs="gaussian vjp",
    ),
    "dip": SolverEntry(
        "invdiff.solvers:DeepImagePrior",
        "deep image prior: an untrained network, stopped early; no prior needed",
        paper="Ulyanov et al. 2018",
        needs="vjp",
    ),
    "dps": SolverEntry(
        "invdiff.solvers:DPS",
        "diffusion posterior sampling with Tweedie's estimate",
        paper="Chung et al. 2023",
        needs="vjp",
    ),
    "evidence": SolverEntry(
        "invdiff.solvers:Evidence",
        "unknown parameters by their evidence under a Gaussian of images, then the image",
        paper="MacKay 1992",
        needs="vjp",
    ),
    "fast_em": SolverEntry(
        "invdiff.solvers:FastEM",
        "unknown parameters by expectation-maximisation with posterior samples, then the image",
        paper="Laroche et al. 2024",
        needs="vjp",
    ),
    "fps": SolverEntry(
        "invdiff.solvers:FPS",
        "particle filter along a noised measurement",
        paper="Dou, Song 2024",
        needs="linear svd gaussian",
    ),
    "ilvr": SolverEntry(
        "invdiff.solvers:ILVR",
        "diffusion with the measured part replaced at every step",
        paper="Choi et al. 2021",
        needs="linear",
    ),
    "langevin": SolverEntry(
        "invdiff.solvers:Langevin",
        "annealed Langevin on the posterior",
        paper="Laumont et al. 2022",
        needs="gaussian vjp",
        limit="inner",
    ),
    "map": SolverEntry(
        "invdiff.solvers:MAP",
        "most probable image by gradients along decreasing noise levels",
        paper="Laumont et al. 2023",
        needs="vjp",
        point=True,
    ),
    "mcg": SolverEntry(
        "invdiff.solvers:MCG",
        "diffusion with manifold constrained gradients",
        paper="Chung et al. 2022",
        needs="linear vjp",
    ),
    "mcgdiff": SolverEntry(
        "invdiff.solvers:MCGDiff",
        "particle filter in the singular basis of a linear operator",
        paper="Cardoso et al. 2024",
        needs="linear svd gaussian",
        limit="particles",
    ),
    "mgdm": SolverEntry(
        "invdiff.solvers:MGDM",
        "mixture guidance: Gibbs sampling with data at random levels",
        paper="Janati et al. 2025",
        needs="vjp",
    ),
    "mgps": SolverEntry(
        "invdiff.solvers:MGPS", "variational guidance at midpoints", paper="Janati et al. 2025", needs="vjp"
    ),
    "mmps": SolverEntry(
        "invdiff.solvers:MMPS",
        "diffusion guided with Tweedie's covariance, MMPS/TMPD",
        paper="Rozet et al. 2024, Boys et al. 2023",
        needs="gaussian vjp",
    ),
    "pigdm": SolverEntry(
        "invdiff.solvers:PiGDM",
        "diffusion guided by the pseudo-inverse",
        paper="Song et al. 2023",
        needs="linear gaussian vjp",
    ),
    "pinv": SolverEntry(
        "invdiff.solvers:PseudoInverse",
        "least squares of least norm, without a prior: the baseline",
        needs="linear",
        point=True,
    ),
    "pixelwise": SolverEntry(
        "invdiff.solvers:Pixelwise",
        "reverse diffusion from the measurement, each pixel at its own level",
        paper="after Ho et al. 2020, Bao et al. 2022",
        needs="linear gaussian pixelwise",
    ),
    "pnp": SolverEntry(
        "invdiff.solvers:PlugAndPlay",
        "plug-and-play half-quadratic splitting with the prior as denoiser",
        paper="Zhang et al. 2021",
        needs="gaussian vjp",
        point=True,
    ),
    "pnpdm": SolverEntry(
        "invdiff.solvers:PnPDM",
        "split Gibbs sampling with a reverse diffusion",
        paper="Wu et al. 2024",
        needs="vjp",
        limit="steps",
    ),
    "reddiff": SolverEntry(
        "invdiff.solvers:REDdiff",
        "regularisation by denoising diffusion, a variational point",
        paper="Mardani et al. 2024",
        needs="vjp",
    ),
    "repaint": SolverEntry(
        "invdiff.solvers:RePaint",
        "diffusion with replacement and resampling, for inpainting",
        paper="Lugmayr et al. 2022",
        needs="linear",
    ),
    "rmps": SolverEntry(
        "invdiff.solvers:RMPS",
        "ancestral steps with the denoiser's error measured on the residual",
        paper="after Kawar et al. 2022, Rozet et al. 2024",
        needs="linear svd gaussian",
    ),
    "score_sde": SolverEntry(
        "invdiff.solvers:ScoreSDE",
        "diffusion by predictor and corrector with projection on the data",
        paper="Song, Shen et al. 2022",
        needs="linear",
    ),
    "sda": SolverEntry(
        "invdiff.solvers:SDA",
        "diffusion guided by a widened likelihood, with corrections",
        paper="Rozet, Louppe 2023",
        needs="gaussian vjp",
    ),
    "snips": SolverEntry(
        "invdiff.solvers:SNIPS",
        "diffusion by annealed Langevin in the operator's singular vectors",
        paper="Kawar et al. 2021",
        needs="linear svd gaussian",
    ),
    "tds": SolverEntry(
        "invdiff.solvers:TDS",
        "twisted sequential Monte Carlo, any differentiable operator",
        paper="Wu et al. 2023",
        needs="gaussian vjp",
        limit="particles",
    ),
    "tv": SolverEntry(
        "invdiff.solvers:TotalVariation",
        "total variation within the noise, primal-dual; no prior needed",
        paper="Rudin et al. 1992",
        needs="linear gaussian",
        point=True,
    ),
    "twisted": SolverEntry(
        "invdiff.solvers:TwistedMultistep",
        "TDS on multistep transitions with a moment-matched twist: our own",
        paper="Wu et al. 2023",
        needs="linear gaussian vjp",
        limit="particles",
    ),
}

PEERS: dict[str, SolverEntry] = {
    "deepinv.ddrm": SolverEntry(
        "invdiff.solvers.peers.deepinv:DeepinvDDRM",
        "peer: DDRM of deepinv, in the same run",
        paper="Kawar et al. 2022",
        needs="linear svd gaussian",
    ),
    "deepinv.diffpir": SolverEntry(
        "invdiff.solvers.peers.deepinv:DeepinvDiffPIR",
        "peer: DiffPIR of deepinv, in the same run",
        paper="Zhu et al. 2023",
        needs="linear gaussian",
    ),
    "deepinv.dps": SolverEntry(
        "invdiff.solvers.peers.deepinv:DeepinvDPS",
        "peer: DPS of deepinv, in the same run",
        paper="Chung et al. 2023",
        needs="vjp",
    ),
}
