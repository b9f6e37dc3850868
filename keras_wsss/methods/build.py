"""From a configuration to a model."""

from keras_wsss.registry import METHODS


def new_model(config, classes, **options):
    """The configured model, not yet built and without pretrained weights.

    Args:
        config: :class:`~keras_wsss.config.Config`.
        classes: names of the foreground classes, or their number.
        **options: ``weights`` and ``synchronized`` as for the model's class.

    Example:

    >>> config = wsss.load_config("photos", ["data.root=my_set", "backbone.name=mit_tiny"])
    >>> type(new_model(config, classes=["cat", "dog"])).__name__
    'BMP'
    """
    return (
        METHODS[config.method]
        .model_class()
        .from_settings(
            config.for_model(),
            classes,
            square=config.data.square,
            working_size=config.data.working_size,
            steps=config.training.steps,
            **options,
        )
    )


def build_model(config, num_classes, synchronized=False):
    """The configured method with its backbone weights loaded.

    Args:
        config: :class:`~keras_wsss.config.Config`.
        num_classes: int, foreground classes, or their names.
        synchronized: bool, whether the decoder's batch norm pools its statistics over replicas.

    Returns:
        A built, uncompiled :class:`WSSSModel`.

    Raises:
        WeightsError: the backbone's weights cannot be had or do not fit.

    Example:

    >>> overrides = ["data.root=my_set", "backbone.name=mit_tiny", "backbone.weights=none"]
    >>> model = build_model(wsss.load_config("photos", overrides), num_classes=2)
    >>> model.count_params()
    560508
    """
    weights = config.backbone.weights
    model = new_model(config, num_classes, weights=weights, synchronized=synchronized)
    model.build()
    return model
