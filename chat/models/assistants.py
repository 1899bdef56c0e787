"""Who may be talked to besides people."""

from typing import ClassVar

from django.db import models

from chat.models.rows import IdentifiedRow


class AssistantQuerySet(models.QuerySet["Assistant"]):
    """Assistants by whether they may be talked to."""

    def active(self) -> "AssistantQuerySet":
        """Those that are switched on."""
        return self.filter(is_active=True)


class Assistant(IdentifiedRow):
    """A persona over a model. Its key is named by an environment variable, never stored."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=200, blank=True)
    avatar = models.CharField(max_length=200, blank=True, help_text="An emoji or an image URL.")
    model = models.CharField(
        max_length=120, blank=True, help_text="The model's name; empty: CHATIRE_MODEL."
    )
    base_url = models.URLField(blank=True, help_text="Empty: OPENAI_BASE_URL.")
    api_key_variable = models.CharField(
        max_length=80,
        blank=True,
        help_text="Name of the environment variable with the key; empty: OPENAI_API_KEY.",
    )
    open_turns = models.BooleanField(
        default=False,
        help_text="For a base URL of its own: whether its server goes on with an assistant's turn "
        "that is left open, as llama.cpp, vLLM and SGLang do. Else OPENAI_OPEN_TURNS.",
    )
    system_prompt = models.TextField(blank=True)
    temperature = models.FloatField(null=True, blank=True)
    max_tokens = models.PositiveIntegerField(null=True, blank=True)
    context_tokens = models.PositiveIntegerField(null=True, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    language = models.CharField(max_length=35, blank=True, help_text="A BCP 47 tag, such as 'de'.")
    allowed_models = models.JSONField(
        default=list, blank=True, help_text="Models a conversation may choose besides its own."
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AssistantQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name
