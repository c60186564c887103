"""Tiny models of random weights, saved as real ones are."""

from pathlib import Path
from tempfile import TemporaryDirectory


def save_clip(folder: Path, parts: Path) -> None:
    """A CLIP in sentence-transformers' own format. parts: a folder for what it is made of."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    letters = "abcdefghijklmnopqrstuvwxyz0123456789./:"
    tokens = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocabulary = {token: n for n, token in enumerate(tokens)}
    tokenizer = CLIPTokenizerFast(vocab=vocabulary, merges=[], model_max_length=77)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    small["num_attention_heads"] = 2
    start, end = len(tokens) - 2, len(tokens) - 1
    marks = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config={**small, **marks, "vocab_size": len(tokens)},
            vision_config={**small, "image_size": 32, "patch_size": 8},
            projection_dim=24,
        )
    )
    model.save_pretrained(parts)
    side = {"height": 32, "width": 32}
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=side)
    CLIPProcessor(pictures, tokenizer).save_pretrained(parts)
    whole = SentenceTransformer(modules=[Transformer(str(parts))], device="cpu")
    whole.save(str(folder), create_model_card=False)


def save_reader(folder: Path, seed: int = 0, dim: int = 16) -> None:
    """A text encoder, the same for the same seed."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,"
    marks = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    tokens = [*marks, *letters, *(f"##{letter}" for letter in letters)]
    torch.manual_seed(seed)
    model = BertModel(
        BertConfig(
            vocab_size=len(tokens),
            hidden_size=dim,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
    )
    with TemporaryDirectory() as parts:
        model.save_pretrained(parts)
        vocabulary = {token: n for n, token in enumerate(tokens)}
        BertTokenizerFast(vocab=vocabulary, model_max_length=64).save_pretrained(parts)
        read = Transformer(parts)
        whole = SentenceTransformer(modules=[read, Pooling(dim)], device="cpu")
        whole.save(str(folder), create_model_card=False)


def save_detector(folder: Path) -> None:
    """A YOLOS that finds something everywhere."""
    import torch
    from transformers import YolosConfig, YolosForObjectDetection
    from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=[64, 64],
        patch_size=16,
        num_detection_tokens=5,
        num_labels=1,
    )
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 64}).save_pretrained(folder)
